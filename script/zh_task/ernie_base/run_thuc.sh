#!/bin/sh
# THUC: topic of a news text, 10 classes. ERNIE base, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds thuc/). Flags of run_classifier.py that
# follow the script's name win over the ones here, e.g. sh run_thuc.sh --epoch 1 --max_seq_len 64
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare
plan_processes 8 8 samples "$@"

DATA=$TASK_DATA_PATH/thuc
DEV_SETS=$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")

launch run_classifier.py \
    --use_cuda "$USE_CUDA" \
    --do_train true --do_val true --do_test false \
    --init_pretraining_params "$PARAMS" \
    --vocab_path "$MODEL_PATH/vocab.txt" --ernie_config_path "$MODEL_PATH/ernie_config.json" \
    --train_set "$DATA/train.tsv" --dev_set "$DEV_SETS" \
    --num_labels 10 --task_id 2 --metric simple_accuracy \
    --batch_size 8 --gradient_accumulation_steps "$ACCUMULATION" \
    --in_tokens false --max_seq_len 512 --epoch 3 \
    --learning_rate 3e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 --verbose true \
    --num_iteration_per_drop_scope 1 --random_seed 1 \
    --checkpoints ./checkpoints --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-true}" \
    "$@"
