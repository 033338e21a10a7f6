#!/bin/sh
# Predicts five reviews with the best model of run_elmo_finetune.sh. Flags of predict.py may follow the script's name.
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$ROOT/script/common.sh"
find_python
CKPT_DIR=${CKPT_DIR:-./ckpt_chnsenticorp}

"$PYTHON" "$ROOT/example/elmo/predict.py" --use_gpu true --checkpoint_dir "$CKPT_DIR" "$@"
