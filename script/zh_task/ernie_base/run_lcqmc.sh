#!/bin/sh
# LCQMC: do two questions mean the same? ERNIE base, published on 1 GPU.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds lcqmc/). Flags of run_classifier.py that
# follow the script's name win over the ones here, e.g. sh run_lcqmc.sh --epoch 1 --max_seq_len 64
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare lcqmc

GPUS=1 fine_tune run_classifier.py \
    --train_set "$DATA/train.tsv" --dev_set "$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")" \
    --num_labels 2 --task_id 0 --metric simple_accuracy \
    --batch_size 32 --in_tokens false --max_seq_len 128 --epoch 3 \
    --learning_rate 2e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.0 --use_fp16 false --random_seed 1 \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 \
    "$@"
