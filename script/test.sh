#!/bin/sh
# sh script/test.sh [pytest's arguments]
#
# Makes .venv if needed and runs the tests, all of them when no argument names some.
set -eu

cd -- "$(dirname -- "$0")/.."
sh script/venv.sh data dev test-data
exec .venv/bin/python -m pytest "$@"
