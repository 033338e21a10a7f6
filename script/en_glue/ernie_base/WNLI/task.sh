#!/bin/sh
# WNLI: what does the pronoun refer to? ERNIE 2.0 base, published on 1 GPU.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (what preprocess/cvt.sh wrote). May be set: RUNS, SEED (of
# the first run; each further run counts up), TOKENIZER, USE_FP16, e_executor; ./model_conf is sourced if there is one.
# Flags of run_classifier.py that follow the script's name win over the ones here, e.g. sh task.sh --batch_size 8
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../../.." && pwd)}
. "$ROOT/script/en_glue/common.sh"

GPUS=1 RUNS=${RUNS:-5} LOG=run.flags PREDICTIONS=run.flags \
fine_tune_runs base WNLI \
    --num_labels 2 --task_id 0 --metric simple_accuracy \
    --batch_size 8 --in_tokens false --max_seq_len 512 --epoch 4 \
    --learning_rate 2e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.1 --weight_decay 0.0 \
    --save_steps 1000 --validation_steps 1000000 --skip_steps 10 \
    "$@"
