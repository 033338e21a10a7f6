# What the distillation scripts share, POSIX sh. A script sets ROOT (this repository) and sources this file.
#
# The environment that they read: MODEL_PATH (the folder of the teacher's model), TASK_DATA_PATH (holds
# distill/chnsenticorp/, see distill/README.md), PYTHON, CUDA_VISIBLE_DEVICES; and for other numbers than the published
# ones TEACHER_STEPS, TEACHER_BATCH, STUDENT_STEPS, STUDENT_BATCH, TEACHER_RATE, STUDENT_RATE,
# VOCAB_SIZE, EVAL_STEPS, SAVE_STEPS, MAX_SEQLEN, STUDENT (bow or bilstm), PORT.
#
# They run in any folder, and write ./output/distill/. Run again, a training goes on from its last checkpoint.

. "$ROOT/script/common.sh"

TEACHER_DIR=./output/distill/teacher STUDENT_DIR=./output/distill/student
CHILD='' SERVER='' STEP=''

# Checks what the user must set. Sets DATA, VOCAB, PARAMS, CONFIG, PYTHON, and the devices of the steps.
prepare_distillation() {
    prepare distill/chnsenticorp
    [ -d "$DATA" ] || fail "TASK_DATA_PATH: no folder $DATA; distill/README.md says what it holds"
    TASK_DATA=$DATA/student
    machine=$(look_at_machine) || fail "PYTHON: $PYTHON cannot tell what this machine has"
    gpus=${machine#* }
    FIRST_GPU=$(printf '%s\n' "$gpus" | cut -d , -f 1)
    SECOND_GPU=$(printf '%s\n' "$gpus" | cut -d , -f 2) # cut prints the only one where there is one
    [ "$USE_CUDA" = true ] || FIRST_GPU='' SECOND_GPU=''
    trap 'leave $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# leave CODE: ends what runs still, by its process id, and says which step failed.
leave() {
    trap - EXIT INT TERM
    for pid in $CHILD $SERVER; do
        kill "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done
    [ -z "$SERVER" ] || rm -f pid.server
    [ "$1" -eq 0 ] || say "step $STEP failed (exit code $1)"
    exit "$1"
}

# begin NUMBER TEXT: a step begins.
begin() {
    STEP=$1
    say "step $1: $2"
}

# on_gpu GPU COMMAND...: the command takes the place of the shell; it sees one GPU, or none where GPU is empty.
on_gpu() {
    [ -z "$1" ] || export CUDA_VISIBLE_DEVICES="$1"
    shift
    exec "$@"
}

# run GPU COMMAND...: runs it to its end. In the background, so that a signal to the script reaches it at once.
run() {
    # Without the detour over 3 the standard input of a command in the background is empty.
    { (on_gpu "$@") <&3 3<&- & } 3<&0
    CHILD=$! code=0
    wait "$CHILD" || code=$?
    CHILD=''
    [ "$code" -eq 0 ] || exit "$code"
}

# The teacher's program. teacher BATCH FLAG...
teacher() {
    batch=$1
    shift
    run "$FIRST_GPU" "$PYTHON" -u "$ROOT/example/finetune_classifier.py" \
        --data_dir "$DATA/teacher/" \
        --vocab_file "$VOCAB" \
        --max_seqlen "${MAX_SEQLEN:-128}" \
        --run_config '{
            "model_dir": "'$TEACHER_DIR'",
            "max_steps": '"${TEACHER_STEPS:-$((10 * 9600 / 32))}"',
            "save_steps": '"${SAVE_STEPS:-100}"',
            "log_steps": 10,
            "max_ckpt": 1,
            "skip_steps": 0,
            "eval_steps": '"${EVAL_STEPS:-100}"'
        }' \
        --hparam "$CONFIG" \
        --hparam '{ # model definition
            "sent_type_vocab_size": None,
            "use_task_id": False,
            "task_id": 0
        }' \
        --hparam '{ # learn
            "warmup_proportion": 0.1,
            "weight_decay": 0.01,
            "use_fp16": 0,
            "learning_rate": '"${TEACHER_RATE:-0.00005}"',
            "num_label": 2,
            "batch_size": '"$batch"'
        }' \
        "$@"
}

# The student's program. student FLAG...
student() {
    run "$FIRST_GPU" "$PYTHON" -u "$ROOT/distill/distill_chnsentocorp.py" \
        --data_dir "$TASK_DATA/" \
        --vocab_file "$TASK_DATA/vocab.txt" \
        --max_seqlen "${MAX_SEQLEN:-128}" \
        --run_config '{
            "model_dir": "'$STUDENT_DIR'",
            "max_steps": '"${STUDENT_STEPS:-$((100 * 9600 / 100))}"',
            "save_steps": '"${SAVE_STEPS:-1000}"',
            "log_steps": 10,
            "max_ckpt": 1,
            "skip_steps": 0,
            "eval_steps": '"${EVAL_STEPS:-100}"'
        }' \
        --hparam '{ # learn
            "warmup_proportion": 0.1,
            "weight_decay": 0.0,
            "use_fp16": 0,
            "learning_rate": '"${STUDENT_RATE:-0.0001}"',
            "num_label": 2,
            "batch_size": '"${STUDENT_BATCH:-100}"'
        }' \
        --hparam '{ # model definition
            "encoder": "'"${STUDENT:-bow}"'",
            "vocab_size": '"${VOCAB_SIZE:-35000}"',
            "emb_size": 128,
            "initializer_range": 0.02
        }' \
        "$@"
}

# Step 1 of both recipes.
finetune_teacher() {
    begin 1 'fine-tune the teacher'
    teacher "${TEACHER_BATCH:-32}" --warm_start_from "$PARAMS"
}
