#!/bin/sh
# Pre-training of ERNIE 1.0, base, published on 8 GPUs: masked words and phrases, and next sentence.
# Reads ./data/train_filelist and ./data/valid_filelist. If they are missing, demo data is made (data/README.md tells
# of what), with ./config/vocab.txt or, if that is missing too, a vocabulary of its own: ./data/demo_vocab.txt.
# Flags of train.py that follow the script's name win over the ones here, e.g.
#   sh script/zh_task/pretrain.sh --num_train_steps 1000 --max_seq_len 128 --ernie_config_path small.json
# It starts as many processes as the machine has GPUs or cores; script/common.sh tells how to change that.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)}
. "$ROOT/script/common.sh"
LAUNCHER=pretrain_launch.py
find_python
choose_device
set -- \
    --in_tokens true --batch_size 8192 --max_seq_len 512 \
    --num_train_steps 1000000 --warmup_steps 5000 \
    --learning_rate 1e-4 --weight_decay 0.01 --use_fp16 false \
    --validation_steps 100 --save_steps 10000 --skip_steps 10 \
    "$@"
GPUS=8 plan_processes "$@"

CONFIG=$(first_file ./config/ernie_config.json "$ROOT/config/ernie_config.json")
VOCAB=$(flag_value --vocab_path ./config/vocab.txt "$@")
TRAIN=$(flag_value --train_filelist ./data/train_filelist "$@")
VALID=$(flag_value --valid_filelist ./data/valid_filelist "$@")

# A schedule has lists of its own.
if [ -z "$(flag_value --schedule '' "$@")" ]; then
    case $TRAIN:$VALID in
        ./data/train_filelist:* | *:./data/valid_filelist)
            if [ ! -f ./data/train_filelist ] || [ ! -f ./data/valid_filelist ] || [ -f ./data/demo_data.json ]; then
                PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" -P -m ernie.pretrain.demo_data \
                    --folder ./data --vocab_path "$VOCAB"
            fi
            ;;
    esac
    set -- --train_filelist ./data/train_filelist --valid_filelist ./data/valid_filelist "$@"
fi
if [ "$VOCAB" = ./config/vocab.txt ] && [ ! -f "$VOCAB" ] && [ -f ./data/demo_vocab.txt ]; then
    VOCAB=./data/demo_vocab.txt
fi

launch train.py \
    --use_cuda "$USE_CUDA" --use_fast_executor true --gradient_accumulation_steps "$ACCUMULATION" \
    --weight_sharing true --vocab_path "$VOCAB" --ernie_config_path "$CONFIG" \
    --checkpoints ./checkpoints --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-false}" \
    "$@"
