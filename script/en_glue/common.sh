# The runner of the GLUE recipes, POSIX sh; a script sets ROOT (this repository) and sources this file.
#
# In addition to what ../common.sh tells, the environment may set RUNS, SEED (of the first run; each further run counts
# up: repeated seeds would give repeated results), TOKENIZER, USE_FP16, e_executor. ./model_conf is sourced if there is
# one, as in 2019.

. "$ROOT/script/common.sh"
PARTS='' DIAGNOSTIC=''
if [ -f ./model_conf ]; then
    . ./model_conf
fi

# fine_tune_runs SIZE TASK FLAG...: trains RUNS times with the flags of a recipe and then the user's, as ERNIE 2.0 SIZE
# (base, large) was. The recipe sets before the call:
#   GPUS         for which it was published
#   RUNS         how often, unless the user says otherwise
#   LOG          parts of the name log/job.NAME.log of a run: run, run.flags, run.time or run.flags.time, where flags are
#                learning rate, batch size and epochs
#   PREDICTIONS  the same for output/test_out.NAME.tsv
#   PARTS        folders of the task's dev and test sets, where it has several (MNLI)
#   DIAGNOSTIC   the same as LOG for the predictions of diagnostic.tsv (MNLI)
fine_tune_runs() {
    size=$1 task=$2
    shift 2
    prepare "$task"
    prefer_vocab_of "$ROOT/script/en_glue/ernie_$size"
    check_runs "$@"
    plan_processes "$@"
    settings=$(flag_value --learning_rate '' "$@").$(flag_value --batch_size '' "$@").$(flag_value --epoch '' "$@")
    dev=$(task_sets dev_sets dev.tsv)
    test=$(task_sets existing_sets test.tsv) do_test=false diagnostic=
    [ -z "$test" ] || do_test=true
    [ -z "$DIAGNOSTIC" ] || diagnostic=$(existing_sets "$DATA/diagnostic.tsv")
    run=1
    while [ "$run" -le "$RUNS" ]; do
        now=$(date +%Y-%m-%d-%H-%M-%S)
        run_logged "log/job.$(run_name "$LOG").log" train run_classifier.py \
            --do_test "$do_test" --tokenizer "${TOKENIZER:-FullTokenizer}" --for_cn False \
            --use_fast_executor "${e_executor:-true}" --use_fp16 "${USE_FP16:-false}" \
            --train_set "$DATA/train.tsv" --dev_set "$dev" \
            ${test:+--test_set "$test" --test_save "$(predictions)"} \
            ${diagnostic:+--diagnostic "$diagnostic"} \
            ${diagnostic:+--diagnostic_save "output/test_out.$(run_name "$DIAGNOSTIC").m.diagnostic.tsv"} \
            "$@" \
            --random_seed "$((SEED + run - 1))" --checkpoints "$(run_checkpoints)"
        run=$((run + 1))
    done
}

# Checks RUNS; sets the first SEED and CHECKPOINTS by the user's flags; makes log/ and output/.
check_runs() {
    SEED=$(flag_value --random_seed "${SEED:-1}" "$@")
    CHECKPOINTS=$(flag_value --checkpoints ./checkpoints "$@")
    check_positive RUNS "$RUNS"
    case $SEED in
        '' | 0?* | *[!0-9]*) fail "SEED: $SEED is not a whole number from 0 on" ;;
    esac
    mkdir -p log output
}

# task_sets FUNCTION FILE: FUNCTION (dev_sets, existing_sets) of the FILE of each part of the task.
task_sets() (
    choose=$1 file=$2
    set --
    for part in $PARTS; do
        set -- "$@" "$DATA/$part/$file"
    done
    [ $# -gt 0 ] || set -- "$DATA/$file"
    "$choose" "$@"
)

# run_name PARTS: prints the name of this run in the names of its files.
run_name() (
    name=$run
    case $1 in *.flags*) name=$name.$settings ;; esac
    case $1 in *.time) name=$name.$now ;; esac
    printf '%s\n' "$name"
)

# Prints the names for the predictions of this run, one for each test set that is there.
predictions() (
    start=output/test_out.$(run_name "$PREDICTIONS") saves=
    for part in $PARTS; do
        [ ! -f "$DATA/$part/test.tsv" ] || saves=${saves:+$saves,}$start.$part.tsv
    done
    printf '%s\n' "${saves:-$start.tsv}"
)

# Prints the checkpoint folder of this run. Several runs must not write into one folder.
run_checkpoints() {
    if [ "$RUNS" -eq 1 ]; then
        printf '%s\n' "$CHECKPOINTS"
    else
        printf '%s\n' "$CHECKPOINTS/run_$run"
    fi
}
