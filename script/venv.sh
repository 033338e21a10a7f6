#!/bin/sh
# sh script/venv.sh [--find] [data] [dev] [test-data]
#
# Makes the virtual environment .venv of this repository, or completes it, and installs what pyproject.toml says the
# programs need, and the dependency groups named. The command `ernie` of .venv is this repository's. Done already: returns at once. Python 3.11 or newer is looked for as $PYTHON,
# python3.13, python3.12, python3.11, python3; --find only prints it. Pip's own settings (registry, certificates, cache)
# are left as they are.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# Prints the version; fails if it is too old or cannot make virtual environments.
probe='import sys
print("%d.%d" % sys.version_info[:2])
if sys.version_info < (3, 11):
    sys.exit(3)
import ensurepip, venv'

found=
for python in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 "$ROOT/.venv/bin/python"; do
    command -v -- "$python" >/dev/null || continue
    code=0
    version=$("$python" -c "$probe" 2>/dev/null) || code=$?
    if [ "$code" -eq 0 ] && [ "${1-}" = --find ]; then
        printf '%s\n' "$python"
        exit 0
    elif [ "$code" -eq 0 ]; then
        exec "$python" "$ROOT/script/make_venv.py" "$@"
    fi
    if [ "$code" -eq 3 ]; then
        found="$found $python is $version;"
    elif [ -n "$version" ]; then
        found="$found $python ($version) lacks the modules venv and ensurepip (Debian: package python$version-venv);"
    fi
done
printf 'error: no usable Python 3.11 or newer.%s install one, or set PYTHON to it\n' "$found" >&2
exit 1
