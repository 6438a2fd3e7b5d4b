#!/bin/sh
# `make run`: brings .venv in step, then runs the console in the foreground. Run from the top folder.
#
# Ctrl-C ends it with a sentence at any moment. So that it does in the moments in which Python itself is still
# loading and would answer with a traceback, the console is a job in the background: a shell starts those with
# SIGINT ignored, and passes the request on as SIGTERM, which ends a Python that has not begun without a word.
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
wait "$console" 2>/dev/null || code=$? # it would say "Terminated"
while kill -0 "$console" 2>/dev/null; do # a signal of ours ended the waiting
    code=0
    wait "$console" 2>/dev/null || code=$?
done
[ "$code" != 143 ] || stopped_early # 128 + SIGTERM
exit "$code"
