#!/bin/sh
# Installs the Jatevo agent and keeps it running as a service. It works in its own folder, ~/.jatevo, and never
# installs packages outside of it. If it breaks off, run it again: it continues where it stopped.
#
#   sh install.sh                 installs the agent, starts it, and shows its status
#   sh install.sh --no-service    starts it in the background instead of as a service
#   sh install.sh --daemon        on a Mac: starts it with the machine, also while nobody is logged in (uses sudo)
#
# As root on Linux, it installs a service of the whole machine under a user of its own, in /var/lib/jatevo.
# JATEVO_DIR names another folder, and JATEVO_PYTHON the Python to use.
set -eu
[ -z "${ZSH_VERSION:-}" ] || emulate -R sh

CONSOLE=@CONSOLE@
CODE=@CODE@
NODE_ID=@NODE_ID@
WHEEL=@WHEEL@
WHEEL_SHA256=@WHEEL_SHA256@
LEAST_PYTHON=@LEAST_PYTHON@
PAGE=@PAGE@

say() { printf '%s\n' "$@"; }
die() {
    printf 'Cannot install the agent: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

fetch() { # URL FILE
    if have curl; then
        curl -fsSL --retry 3 --connect-timeout 15 -o "$2" "$1"
    elif have wget; then
        wget -q -O "$2" "$1"
    else
        die "neither curl nor wget is installed."
    fi || die "$1 could not be downloaded." "The command is valid for an hour. If it has expired, create a new one:" "$PAGE"
}

# ---------------------------------------------------------------- the folder, and whose it is

choose_service() {
    SYSTEM=$(uname -s)
    if [ "$SYSTEM" = Darwin ]; then
        [ "$(id -u)" != 0 ] || die "run this as yourself, without sudo. It asks for the password where it needs it."
        if [ -z "$SERVICE" ]; then
            # over SSH, with nobody logged in at the screen, there is no session that could run it
            if launchctl print "gui/$(id -u)" >/dev/null 2>&1; then SERVICE=agent; else SERVICE=daemon; fi
        fi
        return 0
    fi
    [ "$SERVICE" != daemon ] || die "--daemon is for a Mac. On Linux, run the script as root instead."
    [ -z "$SERVICE" ] || return 0
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    export XDG_RUNTIME_DIR
    if [ ! -d /run/systemd/system ]; then
        SERVICE=none
    elif [ "$(id -u)" = 0 ]; then
        SERVICE=system
    elif systemctl --user show-environment >/dev/null 2>&1; then
        SERVICE=user
    else
        SERVICE=none
    fi
}

choose_folder() {
    DIR=$HOME/.jatevo
    [ "$SERVICE" != system ] || DIR=/var/lib/jatevo
    DIR=${JATEVO_DIR:-$DIR}
    case $DIR in
        *[\"\'\\%\|\&\<\>\$\`]*) die "the folder $DIR has a special character in its name. Set JATEVO_DIR." ;;
        /*) ;;
        *) die "JATEVO_DIR must be an absolute path." ;;
    esac
    CONFIG=$DIR/agent.yaml
    AGENT=$DIR/venv/bin/jatevo-agent
    case $SERVICE in
        agent) FILE=$HOME/Library/LaunchAgents/net.jatevo.agent.plist DOMAIN=gui/$(id -u) ;;
        daemon) FILE=/Library/LaunchDaemons/net.jatevo.agent.plist DOMAIN=system ;;
        user) FILE=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/jatevo-agent.service ;;
        system) FILE=/etc/systemd/system/jatevo-agent.service ;;
        *) FILE= ;;
    esac
}

configured() { # KEY: its value in agent.yaml
    sed -n "s/^$1: *[\"']\{0,1\}\([^\"' #]*\).*/\1/p" "$CONFIG" | head -n 1
}

refuse_another_node() {
    [ -z "$FILE" ] || [ ! -f "$FILE" ] || grep -qF "$DIR/agent.yaml" "$FILE" ||
        die "$FILE runs another agent. Nothing was changed." \
            "To run both, start this one without a service: --no-service"
    [ -f "$CONFIG" ] || return 0
    [ "$(configured console)" = "$CONSOLE" ] ||
        die "$DIR belongs to a node of another console, $(configured console)." "Set JATEVO_DIR to another folder."
    [ "$(configured node_id)" = "$NODE_ID" ] ||
        die "$DIR belongs to the node $(configured node_id), not to $NODE_ID. Nothing was changed." \
            "To run both, set JATEVO_DIR to another folder. To replace it, uninstall it first: see $PAGE"
}

registered() { [ -f "$DIR/state/state.json" ] || { [ -n "$NODE_ID" ] && [ -f "$DIR/$NODE_ID/state.json" ]; }; }

# ---------------------------------------------------------------- Python

# On a Mac without the developer tools, /usr/bin/python3 is a stub that opens a dialog: it must not be called.
is_stub() {
    [ "$SYSTEM" = Darwin ] || return 1
    target=$1
    [ ! -L "$target" ] || target=$(readlink "$target")
    case $target in
        /usr/bin/python3*) ! xcode-select -p >/dev/null 2>&1 ;;
        *) return 1 ;;
    esac
}

good_python() {
    "$1" -c 'import sys, venv, ensurepip
sys.exit(sys.version_info < tuple(map(int, sys.argv[1].split("."))))' "$LEAST_PYTHON" >/dev/null 2>&1
}

find_python() {
    [ "$SYSTEM" != Darwin ] ||
        PATH=$PATH:/opt/homebrew/bin:/usr/local/bin:/Library/Frameworks/Python.framework/Versions/Current/bin
    for name in ${JATEVO_PYTHON:+"$JATEVO_PYTHON"} \
        python3.13 python3.12 python3.11 python3.14 python3.10 python3.9 python3; do
        PYTHON=$(command -v "$name") || continue
        if ! is_stub "$PYTHON" && good_python "$PYTHON"; then return 0; fi
    done
    no_python
}

no_python() {
    if [ "$SYSTEM" = Darwin ]; then
        die "there is no Python $LEAST_PYTHON or later. Install one, then run this command again:" \
            "brew install python      (with Homebrew)" "https://www.python.org/downloads/macos/      (without)"
    fi
    if have apt-get; then
        how="sudo apt-get install python3 python3-venv"
    elif have dnf; then
        how="sudo dnf install python3"
    elif have zypper; then
        how="sudo zypper install python311"
    elif have pacman; then
        how="sudo pacman -S python"
    elif have apk; then
        how="sudo apk add python3"
    else
        how="https://www.python.org/downloads/"
    fi
    die "there is no Python $LEAST_PYTHON or later with its venv module. Install it, then run this command again:" "$how"
}

# ---------------------------------------------------------------- the agent and its configuration

pip() { "$DIR/venv/bin/python" -m pip --disable-pip-version-check "$@"; }

install_agent() {
    if [ "$(cat "$DIR/venv/.installed" 2>/dev/null)" = "$WHEEL_SHA256" ] && "$AGENT" version >/dev/null 2>&1; then
        say "The agent is installed already."
        return 0
    fi
    if ! pip --version >/dev/null 2>&1; then
        say "Creating $DIR/venv with $("$PYTHON" --version)"
        "$PYTHON" -m venv --clear "$DIR/venv" || die "the virtual environment could not be created."
    fi
    say "Installing $WHEEL"
    fetch "$CONSOLE/install/agent/$WHEEL" "$DIR/$WHEEL"
    found=$("$DIR/venv/bin/python" -c 'import hashlib, sys
print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$DIR/$WHEEL")
    [ "$found" = "$WHEEL_SHA256" ] ||
        die "the SHA-256 of $WHEEL is $found instead of $WHEEL_SHA256. Run the command again."
    # pip would keep an installed agent of the same version
    [ ! -e "$AGENT" ] || pip uninstall --quiet --yes jatevo-agent
    pip install --quiet "$DIR/$WHEEL" || die "pip could not install the agent. See the lines above."
    rm -f "$DIR/$WHEEL"
    printf '%s\n' "$WHEEL_SHA256" >"$DIR/venv/.installed"
}

write_config() {
    if registered; then
        say "This machine is registered already, so its agent.yaml stays as it is."
        return 0
    fi
    fetch "$CONSOLE/install/$CODE/agent.yaml" "$CONFIG.new"
    [ "$DIR" = "$HOME/.jatevo" ] || printf '\nstate_dir: "%s/state"\n' "$DIR" >>"$CONFIG.new"
    mv "$CONFIG.new" "$CONFIG"
}

# A service of the whole machine runs as a user of its own, who owns the state and may read the rest.
give_to_its_user() {
    OWNER=jatevo
    id "$OWNER" >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir "$DIR" --shell /usr/sbin/nologin "$OWNER"
    mkdir -p "$DIR/state"
    chown -R "$OWNER:$OWNER" "$DIR/state" "$CONFIG"
    chmod 755 "$DIR"
    chmod -R go+rX "$DIR/venv"
}

# ---------------------------------------------------------------- the service

service_file() { # FROM [AS]: writes $FILE
    fetch "$CONSOLE/install/services/$1" "$DIR/service"
    sed -e "s|@DIR@|$DIR|g" -e "s|@HOME@|$HOME|g" -e "s|@USER@|${OWNER:-$(id -un)}|g" \
        "$DIR/service" >"$DIR/service.new"
    chmod 644 "$DIR/service.new"
    ${2:-} mkdir -p "$(dirname "$FILE")"
    ${2:-} cp "$DIR/service.new" "$FILE"
    rm -f "$DIR/service" "$DIR/service.new"
}

start_with_launchd() { # [AS]
    service_file "launchd-$SERVICE.plist" "${1:-}"
    target=$DOMAIN/net.jatevo.agent
    ${1:-} launchctl enable "$target"
    ${1:-} launchctl bootout "$target" >/dev/null 2>&1 || true
    for _ in $TWENTY; do # an agent that is still ending cannot be started again
        ${1:-} launchctl print "$target" >/dev/null 2>&1 || break
        sleep 1
    done
    ${1:-} launchctl bootstrap "$DOMAIN" "$FILE" || die "launchd could not start $FILE. See the line above."
    say "launchd keeps the agent running. Its log is $DIR/agent.log"
    say "While it runs, this Mac does not go to sleep by itself. Closing the lid still puts it to sleep."
}

start_with_systemd() { # --user or --system
    service_file "systemd-$SERVICE.service"
    systemctl "$1" daemon-reload
    systemctl "$1" --quiet enable jatevo-agent
    systemctl "$1" restart jatevo-agent
    say "systemd keeps the agent running. Its log: journalctl $1 --unit jatevo-agent"
    [ "$1" = --system ] || loginctl enable-linger >/dev/null 2>&1 ||
        say "So that it also runs while you are logged out: sudo loginctl enable-linger $(id -un)"
}

is_agent() { # PID
    { tr '\0' ' ' <"/proc/$1/cmdline" || ps -p "$1" -o command=; } 2>/dev/null | grep -q jatevo-agent
}

stop_background() {
    pid=$(cat "$DIR/agent.pid" 2>/dev/null) && [ -n "$pid" ] && is_agent "$pid" || return 0
    kill "$pid" 2>/dev/null || true
    for _ in $TWENTY; do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 1
    done
}

start_in_background() {
    detach=
    ! have setsid || detach=setsid
    JATEVO_SERVICE=background ${detach:+"$detach"} nohup "$AGENT" run --config "$CONFIG" \
        >>"$DIR/agent.log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$DIR/agent.pid"
    say "Without launchd or systemd, the agent runs in the background, and does not start again with the machine."
    say "Its log is $DIR/agent.log. To stop it: kill \$(cat $DIR/agent.pid)"
}

start_service() {
    stop_background
    case $SERVICE in
        agent) start_with_launchd ;;
        daemon) start_with_launchd sudo ;;
        user) start_with_systemd --user ;;
        system) start_with_systemd --system ;;
        none) start_in_background ;;
    esac
}

as_owner() { if [ -n "$OWNER" ]; then runuser -u "$OWNER" -- "$@"; else "$@"; fi; }

main() {
    SERVICE='' OWNER=''
    TWENTY='1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20'
    for option in "$@"; do
        case $option in
            --no-service) SERVICE=none ;;
            --daemon) SERVICE=daemon ;;
            *) die "unknown option $option" ;;
        esac
    done
    umask 077
    unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
    export PIP_USER=0
    choose_service
    choose_folder
    refuse_another_node
    find_python
    mkdir -p "$DIR"
    install_agent
    write_config
    [ "$SERVICE" != system ] || give_to_its_user
    start_service
    say "" "The console shows the same, and what to do if a step does not come: $PAGE"
    as_owner "$AGENT" status --config "$CONFIG" --follow 120
}

# The last line, so that a download that breaks off runs nothing.
main "$@"
