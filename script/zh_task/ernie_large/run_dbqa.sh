#!/bin/sh
# NLPCC-DBQA: does the sentence answer the question? Ranked by question (column qid). ERNIE large, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds nlpcc-dbqa/). Flags of run_classifier.py that
# follow the script's name win over the ones here, e.g. sh run_dbqa.sh --epoch 1 --max_seq_len 64
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare
plan_processes 8 8 samples "$@"

DATA=$TASK_DATA_PATH/nlpcc-dbqa
DEV_SETS=$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")
VOCAB=$(first_file "$ROOT/config/vocab.txt" "$MODEL_PATH/vocab.txt")
CONFIG=$(first_file "$MODEL_PATH/ernie_config.json" "$ROOT/config/ernie_config.json")

launch run_classifier.py \
    --use_cuda "$USE_CUDA" --use_multi_gpu_test true \
    --do_train true --do_val true --do_test false \
    --init_pretraining_params "$PARAMS" \
    --vocab_path "$VOCAB" --ernie_config_path "$CONFIG" \
    --train_set "$DATA/train.tsv" --dev_set "$DEV_SETS" \
    --num_labels 2 --task_id 0 --metric acc_and_f1_and_mrr \
    --batch_size 8 --gradient_accumulation_steps "$ACCUMULATION" \
    --in_tokens false --max_seq_len 512 --epoch 3 \
    --learning_rate 1e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false \
    --save_steps 1000 --validation_steps 1000 --skip_steps 10 --verbose true \
    --num_iteration_per_drop_scope 1 --random_seed 1 \
    --checkpoints ./checkpoints --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-true}" \
    "$@"
