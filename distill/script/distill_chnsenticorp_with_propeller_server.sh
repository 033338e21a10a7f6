#!/bin/sh
# Online distillation on ChnSentiCorp: a bag of words asks a served teacher for its logits while it trains.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds distill/chnsenticorp/); common.sh names the rest.
# Flags that follow the script's name are for the student's program, distill_chnsentocorp.py.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)}
. "$ROOT/distill/script/common.sh"
prepare_distillation
HOST=tcp://localhost:${PORT:-8113}

finetune_teacher

begin 2 'serve the teacher'
(
    export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}"
    on_gpu "$SECOND_GPU" "$PYTHON" -u -m propeller.tools.start_server -p "${PORT:-8113}" -m "$TEACHER_DIR/best/inference/"
) &
SERVER=$!
printf '%s\n' "$SERVER" > pid.server
run '' "$PYTHON" "$ROOT/distill/wait_for_teacher.py" --teacher_host "$HOST" --pid "$SERVER"

begin 3 'train the student on labels of people and answers of the teacher'
student --teacher_host "$HOST" --teacher_vocab_file "$VOCAB" --teacher_max_seqlen "${MAX_SEQLEN:-128}" \
    --server_batch_size 64 --num_coroutine 10 "$@"
