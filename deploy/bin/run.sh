#!/bin/sh
# `make run`: updates .venv, then runs the console in the foreground. Run it from the top folder.
#
# Ctrl-C always stops it with a message. While Python itself is still loading, it would answer SIGINT with a
# traceback. So the console runs as a background job, which a shell starts with SIGINT ignored. This script passes
# Ctrl-C on as SIGTERM, which ends a Python that is still loading silently.
set -u
console=
asked=

ask_to_stop() {
    asked=yes
    [ -z "$console" ] || kill -TERM "$console" 2>/dev/null
}
trap ask_to_stop INT TERM HUP

stopped_early() {
    echo "Stopped before anything was started."
    exit 0
}

sh deploy/bin/setup.sh run || { [ -z "$asked" ] || stopped_early; exit 1; }
[ -z "$asked" ] || stopped_early

.venv/bin/python -m jatevo.local run &
console=$!
[ -z "$asked" ] || kill -TERM "$console" 2>/dev/null
code=0
wait "$console" 2>/dev/null || code=$? # the shell would print "Terminated"
while kill -0 "$console" 2>/dev/null; do # a signal to this script ended the wait
    code=0
    wait "$console" 2>/dev/null || code=$?
done
[ "$code" != 143 ] || stopped_early # 128 + SIGTERM
exit "$code"
