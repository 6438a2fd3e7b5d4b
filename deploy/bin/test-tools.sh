#!/bin/sh
# Installs the programs that some tests need and no wheel contains: chromium, clickhouse-server and the ZooKeeper of its
# replicas, PgBouncer, those that run the examples of the Docs, a third shell for the install script, and promtool for the
# alert rules. With the word `restore` or `chaos`, also what `make restore-drill` or `make chaos` needs. Without root and
# apt, it says which tests are skipped.
set -eu
PATH=$PATH:/usr/sbin

say() { printf '%s\n' "$*" >&2; }
has_browser() {
    for each in chromium-headless-shell chromium chromium-browser; do
        if command -v "$each" >/dev/null 2>&1; then return 0; fi
    done
    return 1
}
has_clickhouse() { command -v clickhouse-server >/dev/null 2>&1; }
has_zookeeper() { [ -e /usr/share/java/zookeeper.jar ] && command -v java >/dev/null 2>&1; }
# What the examples of the Docs, the install script, the alert rules and connections through a pooler are tested with,
# as program:package.
OTHERS='curl:curl jq:jq node:nodejs openssl:openssl zsh:zsh promtool:prometheus pgbouncer:pgbouncer'
case ${1:-} in
restore) OTHERS="$OTHERS pgbackrest:pgbackrest pg_ctlcluster:postgresql" ;;
chaos) OTHERS="$OTHERS faketime:faketime" ;;
esac
has_others() {
    for each in $OTHERS; do command -v "${each%:*}" >/dev/null 2>&1 || return 1; done
}

install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 0
    say "Installing $1"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >/dev/null 2>&1 || true
}

command -v chromium-headless-shell >/dev/null 2>&1 && has_clickhouse && has_zookeeper && has_others && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq >/dev/null 2>&1 || true
fi

if ! command -v chromium-headless-shell >/dev/null 2>&1; then
    install chromium-headless-shell # takes less time than a browser with windows
    has_browser || install chromium # releases of Debian and others that do not have it
    has_browser || say "chromium is not installed (package chromium): the browser tests are skipped."
fi
if ! has_clickhouse; then
    install clickhouse-server
    if has_clickhouse; then
        # The package starts a server for the whole machine, but only its program is needed.
        if [ -d /run/systemd/system ]; then
            systemctl disable --quiet --now clickhouse-server >/dev/null 2>&1 || true
        fi
    else
        say "clickhouse-server is not installed (package clickhouse-server):" \
            "the tests of the ClickHouse network transport are skipped; those on chDB run."
    fi
fi

if ! has_zookeeper; then
    install zookeeper # a library and scripts; nothing starts it
    command -v java >/dev/null 2>&1 || install default-jre-headless
    has_zookeeper || say "zookeeper is not installed (packages zookeeper and default-jre-headless):" \
        "the tests of ClickHouse's replicas are skipped."
fi

for each in $OTHERS; do
    program=${each%:*}
    if ! command -v "$program" >/dev/null 2>&1; then
        install "${each#*:}"
        # The package starts a server too, but only the program is needed.
        if [ -d /run/systemd/system ]; then
            case $program in
            promtool) systemctl disable --quiet --now prometheus >/dev/null 2>&1 || true ;;
            pgbouncer) systemctl disable --quiet --now pgbouncer >/dev/null 2>&1 || true ;;
            pg_ctlcluster) systemctl disable --quiet --now postgresql >/dev/null 2>&1 || true ;;
            esac
        fi
    fi
    command -v "$program" >/dev/null 2>&1 ||
        say "$program is not installed (package ${each#*:}): tests of examples in the Docs, the install script, alert rules, poolers, a stepped clock or restores are skipped."
done
