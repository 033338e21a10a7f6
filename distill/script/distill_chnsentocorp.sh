#!/bin/sh
# distill_chnsenticorp.sh under the spelling of 2019's programs.
exec sh "$(dirname -- "$0")/distill_chnsenticorp.sh" "$@"
