#!/bin/sh
# QNLI: does the sentence answer the question? ERNIE 2.0 base, published on 8 GPUs.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (what preprocess/cvt.sh wrote). May be set: RUNS, SEED (of
# the first run; each further run counts up), TOKENIZER, USE_FP16, e_executor; ./model_conf is sourced if there is one.
# Flags of run_classifier.py that follow the script's name win over the ones here, e.g. sh task.sh --batch_size 8
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../../.." && pwd)}
. "$ROOT/script/common.sh"
if [ -f ./model_conf ]; then
    . ./model_conf
fi
prepare
plan_runs 5 "$@"
plan_processes 8 32 samples "$@"

lr=$(flag_value --learning_rate 2e-5 "$@")
batch_size=$(flag_value --batch_size 32 "$@")
epoch=$(flag_value --epoch 4 "$@")

DATA=$TASK_DATA_PATH/QNLI
VOCAB=$(first_file "$ROOT/script/en_glue/ernie_base/vocab.txt" "$MODEL_PATH/vocab.txt")
CONFIG=$(first_file "$MODEL_PATH/ernie_config.json" "$ROOT/script/en_glue/ernie_base/ernie_config.json")
DEV_SETS=$(dev_sets "$DATA/dev.tsv")
TEST_SETS=$(existing_sets "$DATA/test.tsv")
DO_TEST=false
[ -z "$TEST_SETS" ] || DO_TEST=true

i=1
while [ "$i" -le "$RUNS" ]; do
    name=$i.$lr.$batch_size.$epoch
    run_logged "log/job.$name.log" launch run_classifier.py \
        --use_cuda "$USE_CUDA" --use_fast_executor "${e_executor:-true}" --use_fp16 "${USE_FP16:-false}" \
        --do_train true --do_val true --do_test "$DO_TEST" \
        --init_pretraining_params "$PARAMS" \
        --vocab_path "$VOCAB" --ernie_config_path "$CONFIG" \
        --tokenizer "${TOKENIZER:-FullTokenizer}" --for_cn False \
        --train_set "$DATA/train.tsv" --dev_set "$DEV_SETS" \
        ${TEST_SETS:+--test_set "$TEST_SETS" --test_save "output/test_out.$name.tsv"} \
        --num_labels 2 --task_id 0 --metric simple_accuracy \
        --batch_size "$batch_size" --gradient_accumulation_steps "$ACCUMULATION" \
        --in_tokens false --max_seq_len 128 --epoch "$epoch" \
        --learning_rate "$lr" --lr_scheduler linear_warmup_decay --warmup_proportion 0.1 \
        --weight_decay 0.0 \
        --save_steps 30000 --validation_steps 1000000000 --skip_steps 10 --verbose true \
        --num_iteration_per_drop_scope 1 \
        --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-true}" \
        "$@" \
        --random_seed "$((SEED + i - 1))" --checkpoints "$(run_checkpoints "$i")"
    i=$((i + 1))
done
