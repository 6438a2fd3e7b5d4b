#!/bin/sh
# Starts nginx in a container. nginx resolves names itself and needs to be told where; the first server is the one that
# knows the other containers.
set -eu
server=$(sed -n 's/^nameserver *//p' /etc/resolv.conf | head -n 1)
case $server in *:*) server="[$server]" ;; esac
printf 'resolver %s valid=5s ipv6=off;\n' "$server" >/tmp/resolver.conf
exec nginx -c /etc/nginx/jatevo.conf -g 'daemon off;'
