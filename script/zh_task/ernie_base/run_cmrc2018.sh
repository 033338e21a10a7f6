#!/bin/sh
# CMRC 2018: reading comprehension in simplified Chinese. ERNIE base, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds cmrc2018/). Flags of run_mrc.py that follow the
# script's name win over the ones here, e.g. sh run_cmrc2018.sh --epoch 1 --max_seq_len 384
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare cmrc2018

GPUS=8 fine_tune run_mrc.py \
    --train_set "$DATA/train.json" --dev_set "$DATA/dev.json" \
    --task_id 0 --metric cmrc --do_lower_case true \
    --batch_size 16 --in_tokens false --max_seq_len 512 --doc_stride 128 --epoch 2 \
    --learning_rate 3e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false --use_fast_executor true \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 \
    "$@"
