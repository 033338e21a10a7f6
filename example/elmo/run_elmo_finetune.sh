#!/bin/sh
# Fine-tunes ELMo on ChnSentiCorp. Flags of elmo_finetune.py that follow the script's name win over the ones here, e.g.
# sh run_elmo_finetune.sh --net cnn
set -eu
ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$ROOT/script/common.sh"
find_python
CKPT_DIR=${CKPT_DIR:-./ckpt_chnsenticorp}

"$PYTHON" "$ROOT/example/elmo/elmo_finetune.py" \
    --batch_size 32 --use_gpu true --checkpoint_dir "$CKPT_DIR" \
    --learning_rate 5e-5 --weight_decay 0.01 --warmup_proportion 0 --num_epoch 3 \
    "$@"
