#!/bin/sh
# THUC: topic of a news text, 10 classes. ERNIE base, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds thuc/). Flags of run_classifier.py that
# follow the script's name win over the ones here, e.g. sh run_thuc.sh --epoch 1 --max_seq_len 64
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare thuc

GPUS=8 fine_tune run_classifier.py \
    --train_set "$DATA/train.tsv" --dev_set "$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")" \
    --num_labels 10 --task_id 2 --metric simple_accuracy \
    --batch_size 8 --in_tokens false --max_seq_len 512 --epoch 3 \
    --learning_rate 3e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false --random_seed 1 \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 \
    "$@"
