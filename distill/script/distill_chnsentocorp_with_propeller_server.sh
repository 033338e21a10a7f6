#!/bin/sh
# distill_chnsenticorp_with_propeller_server.sh under the spelling of 2019's programs.
exec sh "$(dirname -- "$0")/distill_chnsenticorp_with_propeller_server.sh" "$@"
