#!/bin/sh
# sh script/test.sh [pytest's arguments]
#
# Makes .venv if needed. Without arguments: script/lint.sh, then all tests, in as many processes as there are cores (at
# most 4), each with one thread for products; the 15 slowest are listed. With arguments: pytest, with them.
# A test may take 120 s, one that is marked slow 300 s.
set -eu

cd -- "$(dirname -- "$0")/.."
sh script/venv.sh data dev test-data
if [ $# -eq 0 ]; then
    sh script/lint.sh
    # Compiled once for this machine, and not within the time of a test; where it cannot be, their tests are skipped.
    .venv/bin/python -m propeller.ops build || true
    .venv/bin/python -m benchmark.cpp || true
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    set -- --numprocesses auto --dist worksteal --durations 15
fi
exec .venv/bin/python -m pytest --timeout 120 "$@"
