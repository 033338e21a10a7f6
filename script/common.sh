# Functions of the task scripts, POSIX sh. A script sets ROOT (this repository), sources this file and calls `prepare`.
#
# The environment that the scripts read: MODEL_PATH, TASK_DATA_PATH, PYTHON, CUDA_VISIBLE_DEVICES, and ERNIE_ROOT for a
# copy of a script that lies outside the repository.

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

say() {
    printf '%s\n' "$*" >&2
}

# Sets PYTHON: $PYTHON, else the repository's .venv, else python3.
find_python() {
    if [ -z "${PYTHON:-}" ]; then
        PYTHON=python3
        [ ! -x "$ROOT/.venv/bin/python" ] || PYTHON=$ROOT/.venv/bin/python
    fi
    command -v -- "$PYTHON" >/dev/null ||
        fail "PYTHON: no program $PYTHON; set PYTHON to a Python 3.11 that has paddlepaddle"
}

check_paths() {
    [ -n "${MODEL_PATH:-}" ] ||
        fail 'MODEL_PATH is not set; it is the folder of an unpacked model (params/, vocab.txt, ernie_config.json)'
    [ -d "$MODEL_PATH" ] || fail "MODEL_PATH: no folder $MODEL_PATH"
    [ -n "${TASK_DATA_PATH:-}" ] || fail 'TASK_DATA_PATH is not set; it is the folder that holds the task folders'
    [ -d "$TASK_DATA_PATH" ] || fail "TASK_DATA_PATH: no folder $TASK_DATA_PATH"
    case $TASK_DATA_PATH in
        *,*) fail "TASK_DATA_PATH: $TASK_DATA_PATH has a comma, which separates files in --dev_set and --test_set" ;;
    esac
}

# Sets USE_CUDA: true when a GPU is visible and paddle can use it. Paddle takes seconds to import and is asked last.
choose_device() {
    USE_CUDA=false
    case ${CUDA_VISIBLE_DEVICES-all} in
        '' | -1) return 0 ;;
    esac
    nvidia-smi -L 2>/dev/null | grep -q '^GPU ' || return 0
    if "$PYTHON" -c 'import paddle, sys
sys.exit(not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()))' 2>/dev/null; then
        USE_CUDA=true
    else
        say "this machine has a GPU, but the paddle of $PYTHON cannot use it: running on the CPU"
    fi
}

# Checks what the user must set; sets PYTHON, USE_CUDA and PARAMS, the folder for --init_pretraining_params.
prepare() {
    check_paths
    find_python
    choose_device
    # A folder that this suite wrote holds model.safetensors in place of params/.
    PARAMS=$MODEL_PATH/params
    if [ ! -d "$PARAMS" ] && [ -f "$MODEL_PATH/model.safetensors" ]; then
        PARAMS=$MODEL_PATH
    fi
}

# first_file FILE...: prints the first that exists, or the last, about which the program will complain.
first_file() (
    for file in "$@"; do
        [ ! -f "$file" ] || break
    done
    printf '%s\n' "$file"
)

# existing_sets FILE...: prints those that exist, joined by commas, and names the others on stderr.
existing_sets() (
    sets=
    for file in "$@"; do
        if [ -f "$file" ]; then
            sets=${sets:+$sets,}$file
        else
            say "not there, left out: $file"
        fi
    done
    printf '%s\n' "$sets"
)

# dev_sets FILE...: the same, but when there is none the first name, about which the program will complain.
dev_sets() (
    sets=$(existing_sets "$@")
    printf '%s\n' "${sets:-$1}"
)

# flag_value FLAG DEFAULT "$@": the value that the program takes for FLAG, where the user's flags override DEFAULT.
flag_value() (
    flag=$1 value=$2
    shift 2
    while [ $# -gt 0 ]; do
        case $1 in
            "$flag") value=${2-$value} ;;
            "$flag="*) value=${1#*=} ;;
        esac
        shift
    done
    printf '%s\n' "$value"
)

# say_devices GPUS BATCH UNIT "$@": tells how the published global batch compares with the one of this run.
say_devices() (
    gpus=$1 batch=$2 unit=$3
    shift 3
    case $(flag_value --use_cuda "$USE_CUDA" "$@") in
        [Tt]* | 1) device=GPU ;;
        *) device=CPU ;;
    esac
    say "published for $gpus GPUs (global batch $((gpus * batch)) $unit);" \
        "this machine: 1 $device process, batch $(flag_value --batch_size "$batch" "$@") $unit"
)

# run_logged LOG COMMAND...: both streams to the console and to LOG. Ends with the command's exit code, which a plain
# `| tee` would lose.
run_logged() (
    log=$1
    shift
    {
        code=$({ { code=0; "$@" 2>&1 3>&- 4>&- || code=$?; echo "$code" >&3; } | tee -- "$log" >&4 3>&-; } 3>&1)
    } 4>&1
    exit "$code"
)

# plan_runs RUNS "$@": for scripts that repeat a fine-tuning. Sets RUNS, the first SEED (later runs count up: repeated
# seeds would give repeated results) and CHECKPOINTS; makes log/ and output/.
plan_runs() {
    RUNS=${RUNS:-$1}
    shift
    SEED=$(flag_value --random_seed "${SEED:-1}" "$@")
    CHECKPOINTS=$(flag_value --checkpoints ./checkpoints "$@")
    case $RUNS in
        '' | 0* | *[!0-9]*) fail "RUNS: $RUNS is not a whole number from 1 on" ;;
    esac
    case $SEED in
        '' | 0?* | *[!0-9]*) fail "SEED: $SEED is not a whole number from 0 on" ;;
    esac
    mkdir -p log output
}

# run_checkpoints I: prints the checkpoint folder of run I. Several runs must not write into one folder.
run_checkpoints() {
    if [ "$RUNS" -eq 1 ]; then
        printf '%s\n' "$CHECKPOINTS"
    else
        printf '%s\n' "$CHECKPOINTS/run_$1"
    fi
}
