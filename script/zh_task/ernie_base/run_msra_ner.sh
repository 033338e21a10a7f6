#!/bin/sh
# MSRA-NER: persons, organizations and places in Chinese news, 7 labels. ERNIE base, published on 1 GPU.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds msra_ner/). Flags of run_sequence_labeling.py that
# follow the script's name win over the ones here, e.g. sh run_msra_ner.sh --epoch 1 --max_seq_len 64
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)}
. "$ROOT/script/common.sh"
prepare msra_ner

GPUS=1 fine_tune run_sequence_labeling.py \
    --train_set "$DATA/train.tsv" --dev_set "$(dev_sets "$DATA/dev.tsv" "$DATA/test.tsv")" \
    --do_test true --test_set "$(existing_sets "$DATA/test.tsv")" \
    --label_map_config "$DATA/label_map.json" --num_labels 7 --chunk_scheme IOB --task_id 0 \
    --batch_size 16 --in_tokens false --max_seq_len 256 --epoch 6 \
    --learning_rate 5e-5 --lr_scheduler linear_warmup_decay --warmup_proportion 0.0 \
    --weight_decay 0.01 --use_fp16 false --random_seed 1 \
    --save_steps 100000 --validation_steps 100 --skip_steps 10 \
    "$@"
