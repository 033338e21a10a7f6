#!/bin/sh
# BQ: do two questions to a bank mean the same? ERNIE large, published on 1 GPU.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds bq/). Flags of run_classifier.py that
# follow the script's name win over the ones here, e.g. sh run_bq.sh --epoch 1 --max_seq_len 64
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare bq
prefer_vocab_of "$ROOT/config"

GPUS=1 run_logged job.log fine_tune run_classifier.py \
    --train_set "$DATA/train.tsv" --dev_set "$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")" \
    --num_labels 2 --task_id 0 --metric simple_accuracy \
    --batch_size 64 --in_tokens false --max_seq_len 128 --epoch 3 \
    --learning_rate 1.5e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false --random_seed 1 \
    --save_steps 1000 --validation_steps 100 --skip_steps 10 \
    "$@"
