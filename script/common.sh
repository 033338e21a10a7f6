# Functions of the task scripts, POSIX sh. A script is a recipe: it sets ROOT (this repository), sources this file, calls
# `prepare` and then `fine_tune` with its own numbers. Those of en_glue are run several times: en_glue/common.sh.
#
# The environment that the scripts read: MODEL_PATH, TASK_DATA_PATH, PYTHON, CUDA_VISIBLE_DEVICES, and ERNIE_ROOT for a
# copy of a script that lies outside the repository.
#
# A fine-tuning script that is run again in one folder begins anew, as in 2019: it deletes the checkpoints of the run
# before. OVERWRITE_CHECKPOINTS=false refuses that, and is the default of pretrain.sh. --resume true goes on where the run
# before ended; it wins over both.
#
# Scripts published for G > 1 GPUs start finetune_launch.py with as many processes as this machine has GPUs, or usable
# cores where a CPU computes, but at most G, and so that their number divides G. What is missing to G is made up by
# accumulation: the batches of an update, and so the updates, are those that were published, whatever the machine. One
# process is started without the launcher. What the user says goes first:
#   NPROC_PER_NODE        counts in place of the machine's GPUs or cores
#   --batch_size          the batch of one process, as in 2019
#   --gradient_accumulation_steps
#                         then the batch of an update is the user's affair, and NPROC_PER_NODE is taken as it is
#   NODE_IPS, NODE_ID     for several machines: all addresses, joined by commas, and which of them (from 0) this is. The
#                         script is started on each. The processes of all machines together then divide G; each machine
#                         starts the same number, so where they differ NPROC_PER_NODE must say it.
#   LAUNCH_FLAGS          more flags for the launcher, e.g. '--start_port 7000 --elastic_restarts 2'; with any, it starts
#                         one process too

LAUNCHER=finetune_launch.py

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
    # model_conf may have set it without exporting it.
    [ -z "${CUDA_VISIBLE_DEVICES+set}" ] || export CUDA_VISIBLE_DEVICES
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

# prepare TASK: checks what the user must set. Sets DATA, the folder of the task; PYTHON and USE_CUDA; and the model's
# PARAMS (the folder for --init_pretraining_params), VOCAB and CONFIG.
prepare() {
    check_paths
    find_python
    choose_device
    # shellcheck disable=SC2034 # scripts use it
    DATA=$TASK_DATA_PATH/$1
    VOCAB=$MODEL_PATH/vocab.txt CONFIG=$MODEL_PATH/ernie_config.json
    # A folder that this suite wrote holds model.safetensors in place of params/.
    PARAMS=$MODEL_PATH/params
    if [ ! -d "$PARAMS" ] && [ -f "$MODEL_PATH/model.safetensors" ]; then
        PARAMS=$MODEL_PATH
    fi
}

# prefer_vocab_of FOLDER: the vocabulary in FOLDER goes before the model's, and its config is there for a model that has
# none. (A model's own tells the shapes of its weights.)
prefer_vocab_of() {
    VOCAB=$(first_file "$1/vocab.txt" "$VOCAB")
    CONFIG=$(first_file "$CONFIG" "$1/ernie_config.json")
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

# flag_value FLAG DEFAULT "$@": the value that the program takes for FLAG: the last one, which is the user's if he gives
# it, else the recipe's; DEFAULT without any.
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

# published_value FLAG "$@": the first value of FLAG: the recipe's, whatever the user says behind it.
published_value() (
    flag=$1
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            "$flag") printf '%s\n' "${2-}" && exit ;;
            "$flag="*) printf '%s\n' "${1#*=}" && exit ;;
        esac
        shift
    done
)

# is_positive VALUE: whether it is a whole number from 1 on.
is_positive() {
    case $1 in
        '' | 0* | *[!0-9]*) return 1 ;;
    esac
}

# check_positive NAME VALUE
check_positive() {
    is_positive "$2" || fail "$1: $2 is not a whole number from 1 on"
}

# largest_divisor NUMBER LIMIT: prints the largest divisor of NUMBER that is not above LIMIT.
largest_divisor() (
    divisor=$(($2 < $1 ? $2 : $1))
    while [ $(($1 % divisor)) -ne 0 ]; do
        divisor=$((divisor - 1))
    done
    printf '%s\n' "$divisor"
)

# count_names LIST: prints how many names a list has that is joined by commas.
count_names() {
    printf '%s\n' "$1" | tr ',' '\n' | grep -c . || :
}

# Prints the usable cores and the visible GPUs, the latter joined by commas, as the launcher counts them.
look_at_machine() {
    PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} "$PYTHON" -P -c 'import os
from propeller.environment import usable_cores
from propeller.launch.machine import visible_gpus
print(usable_cores(), ",".join(visible_gpus(os.environ)))'
}

# GPUS=N plan_processes FLAG...: for a recipe that was published for N GPUs, with its flags and then the user's. Chooses
# by the rule at the top of this file, and says what it comes to. Sets for `launch` NODES, NPROC (processes of each node)
# and SELECTED_GPUS; and ACCUMULATION, the batches that a process puts together for an update. A recipe for one GPU is
# started once, whatever the machine.
plan_processes() {
    ACCUMULATION=$(flag_value --gradient_accumulation_steps '' "$@")
    if [ "$GPUS" -eq 1 ]; then
        NODES=1 NPROC=1 LAUNCH_FLAGS=
        return
    fi
    check_positive 'the --batch_size of the recipe' "$(published_value --batch_size "$@")"
    count_nodes
    count_devices "$(flag_value --use_cuda "$USE_CUDA" "$@")"
    NPROC=${NPROC_PER_NODE:-$available}
    check_positive NPROC_PER_NODE "$NPROC"
    if [ -z "$ACCUMULATION" ] || [ -z "${NPROC_PER_NODE:-}" ]; then
        [ $((GPUS % NODES)) -eq 0 ] ||
            fail "NODE_IPS: $NODES machines cannot share the batch of $GPUS GPUs equally;" \
                'set NPROC_PER_NODE and --gradient_accumulation_steps for another batch'
        NPROC=$(largest_divisor $((GPUS / NODES)) "$NPROC")
        ACCUMULATION=${ACCUMULATION:-$((GPUS / NODES / NPROC))}
        [ "$NPROC" -eq "${NPROC_PER_NODE:-$NPROC}" ] ||
            say "NPROC_PER_NODE $NPROC_PER_NODE: only $NPROC started, to share the batch of $GPUS GPUs equally" \
                '(with --gradient_accumulation_steps it is taken as it is)'
    fi
    SELECTED_GPUS=$(printf '%s\n' "$names" | cut -d , -f "-$NPROC")
    say_devices "$@"
}

# Sets NODES, the number of machines.
count_nodes() {
    NODES=1
    [ -n "${NODE_IPS:-}" ] || return 0
    NODES=$(count_names "$NODE_IPS")
    [ "$NODES" -gt 0 ] || fail "NODE_IPS: no address in $NODE_IPS"
    [ "$NODES" -eq 1 ] || [ -n "${NODE_ID:-}" ] ||
        fail "NODE_ID is not set; it says which of NODE_IPS $NODE_IPS this machine is, from 0 on"
}

# count_devices USE_CUDA: sets device (GPU or CPU), names of the GPUs to use, and how many devices are available.
count_devices() {
    machine=$(look_at_machine) || fail "PYTHON: $PYTHON cannot tell what this machine has"
    device=CPU names='' available=${machine%% *}
    case $1 in
        [Tt]* | 1)
            device=GPU names=${machine#* }
            available=$(count_names "$names")
            # The program, started once, tells why there is none.
            [ "$available" -gt 0 ] || available=1
            ;;
    esac
}

# say_devices FLAG...: tells how the published global batch compares with the one of this run.
say_devices() (
    published=$(($(published_value --batch_size "$@") * GPUS))
    published="published for $GPUS GPUs (global batch $published $(batch_unit "$(published_value --in_tokens "$@")"))"
    batch=$(flag_value --batch_size '' "$@") total=
    here="this machine: $NPROC $device process"
    [ "$NPROC" -eq 1 ] || here="${here}es"
    [ "$NODES" -eq 1 ] || here="$NODES machines x ${here#*: }"
    here="$here x batch $batch"
    [ "$ACCUMULATION" = 1 ] || here="$here x $ACCUMULATION accumulated"
    # Of other values the program will complain.
    if is_positive "$batch" && is_positive "$ACCUMULATION"; then
        total=" = $((NODES * NPROC * batch * ACCUMULATION)) $(batch_unit "$(flag_value --in_tokens '' "$@")")"
    fi
    say "$published; $here$total"
)

# batch_unit IN_TOKENS: prints what --batch_size counts.
batch_unit() {
    case $1 in
        [Tt]* | 1) echo tokens ;;
        *) echo samples ;;
    esac
}

# launch PROGRAM FLAG...: the program of this repository takes the place of the shell, in as many processes as
# `plan_processes` chose.
launch() {
    program=$ROOT/$1
    shift
    [ $((NODES * NPROC)) -gt 1 ] || [ -n "${LAUNCH_FLAGS:-}" ] || exec "$PYTHON" "$program" "$@"
    set -f
    # shellcheck disable=SC2086 # flags are words
    set -- ${LAUNCH_FLAGS:-} "$program" "$@"
    [ -z "$SELECTED_GPUS" ] || set -- --selected_gpus "$SELECTED_GPUS" "$@"
    [ -z "${NODE_IPS:-}" ] || set -- --node_ips "$NODE_IPS" --node_id "${NODE_ID:-0}" "$@"
    exec "$PYTHON" "$ROOT/$LAUNCHER" --nproc_per_node "$NPROC" "$@"
}

# GPUS=N fine_tune PROGRAM FLAG...: a recipe for N GPUs: its flags and then the user's.
fine_tune() {
    program=$1
    shift
    plan_processes "$@"
    train "$program" "$@"
}

# train PROGRAM FLAG...: the program with what all recipes share, in the processes that `plan_processes` chose.
train() {
    program=$1
    shift
    launch "$program" \
        --use_cuda "$USE_CUDA" ${ACCUMULATION:+--gradient_accumulation_steps "$ACCUMULATION"} \
        --do_train true --do_val true --do_test false \
        --init_pretraining_params "$PARAMS" --vocab_path "$VOCAB" --ernie_config_path "$CONFIG" \
        --num_iteration_per_drop_scope 1 \
        --checkpoints ./checkpoints --overwrite_checkpoints "${OVERWRITE_CHECKPOINTS:-true}" \
        "$@"
}

# run_logged LOG COMMAND...: both streams to the console and to LOG. Ends with the command's exit code, which a plain
# `| tee` would lose. After Ctrl-C the log still takes what the command says while it ends.
run_logged() (
    log=$1
    shift
    {
        code=$({ { code=0; ("$@") 2>&1 3>&- 4>&- || code=$?; echo "$code" >&3; } | tee -i -- "$log" >&4 3>&-; } 3>&1)
    } 4>&1
    exit "$code"
)
