#!/bin/sh
# sh inference/run.sh DATA MODEL_DIR
#
# The program of 2019 on a file of samples, built before if need be: five passes over DATA with the export in MODEL_DIR,
# the probabilities on standard output, the mean latency of a sample on standard error.
set -eu

if [ $# -ne 2 ]; then
    echo "sh inference/run.sh DATA MODEL_DIR" >&2
    exit 2
fi
here=$(cd -- "$(dirname -- "$0")" && pwd)
make -s -C "$here" >&2
exec "$here/${BUILD:-build}/inference" --logtostderr --model_dir "$2" --data "$1" --repeat 5 --output_prediction true
