#!/bin/sh
# CMRC 2018: reading comprehension in simplified Chinese. ERNIE large, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds cmrc2018/). Flags of run_mrc.py that follow the
# script's name win over the ones here, e.g. sh run_cmrc2018.sh --epoch 1 --max_seq_len 384
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare
plan_processes 8 8 samples "$@"

DATA=$TASK_DATA_PATH/cmrc2018
VOCAB=$(first_file "$ROOT/config/vocab.txt" "$MODEL_PATH/vocab.txt")
CONFIG=$(first_file "$MODEL_PATH/ernie_config.json" "$ROOT/config/ernie_config.json")

launch run_mrc.py \
    --use_cuda "$USE_CUDA" --use_fast_executor true \
    --do_train true --do_val true --do_test false \
    --init_pretraining_params "$PARAMS" \
    --vocab_path "$VOCAB" --ernie_config_path "$CONFIG" \
    --train_set "$DATA/train.json" --dev_set "$DATA/dev.json" \
    --task_id 0 --metric cmrc --do_lower_case true \
    --batch_size 8 --gradient_accumulation_steps "$ACCUMULATION" \
    --in_tokens false --max_seq_len 512 --doc_stride 128 --epoch 2 \
    --learning_rate 3e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 --verbose true \
    --num_iteration_per_drop_scope 1 \
    --checkpoints ./checkpoints --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-true}" \
    "$@"
