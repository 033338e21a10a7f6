#!/bin/sh
# Offline distillation on ChnSentiCorp: the teacher labels all texts, then a bag of words learns from its labels.
# Set MODEL_PATH (the folder of the model) and TASK_DATA_PATH (holds distill/chnsenticorp/); common.sh names the rest.
# Flags that follow the script's name are for the student's program, distill_chnsentocorp.py.
set -eu
ROOT=${ERNIE_ROOT:-$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)}
. "$ROOT/distill/script/common.sh"
prepare_distillation

finetune_teacher

begin 2 'label the texts with the teacher'
mkdir -p prediction_output
rm -f prediction_output/*
for texts in "$TASK_DATA/unsup_train_aug"/*; do
    [ -f "$texts" ] || fail "no file in $TASK_DATA/unsup_train_aug"
    # The student reads the segmented text, column 1; the teacher the text, column 2.
    cut -f 2 "$texts" > prediction_text
    teacher 100 --do_predict < prediction_text > prediction_label
    cut -f 1 "$texts" | paste - prediction_label > "prediction_output/$(basename -- "$texts")"
done
rm -f prediction_text

begin 3 'train the student on labels of people and of the teacher'
student --unsupervise_data_dir ./prediction_output/ "$@"
