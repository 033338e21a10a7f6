#!/bin/sh
# sh script/lint.sh
#
# Faults, format, spelling, types: seconds. Needs the `dev` group of script/venv.sh.
set -eu

cd -- "$(dirname -- "$0")/.."
python=.venv/bin/python
"$python" -m ruff check --quiet .
"$python" -m ruff format --check --quiet .
"$python" -m codespell_lib benchmark config distill docs ernie example propeller script tests ./*.md ./*.py ./*.toml
"$python" -m mypy
