#!/bin/sh
# Converts the GLUE folder, as downloaded, to the files that the task scripts read: sh cvt.sh GLUE_DIR [--out FOLDER]
# Writes ./glue_data_processed/ (set TASK_DATA_PATH to it) and stops at the first error.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
find_python

exec "$PYTHON" "$ROOT/script/en_glue/preprocess/cvt.py" "$@"
