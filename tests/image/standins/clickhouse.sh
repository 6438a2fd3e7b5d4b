#!/bin/sh
# As the official image: a user and a database of the given names, then the server as `clickhouse`.
set -eu
hash=$(printf %s "$CLICKHOUSE_PASSWORD" | sha256sum | cut -d ' ' -f 1)
mkdir -p /etc/clickhouse-server/users.d /etc/clickhouse-server/config.d
cat >/etc/clickhouse-server/users.d/console.xml <<XML
<yandex><users><default remove="remove"/><$CLICKHOUSE_USER>
  <password_sha256_hex>$hash</password_sha256_hex><networks><ip>0.0.0.0/0</ip></networks>
  <profile>default</profile><quota>default</quota>
</$CLICKHOUSE_USER></users></yandex>
XML
echo '<yandex><listen_host replace="replace">0.0.0.0</listen_host></yandex>' >/etc/clickhouse-server/config.d/listen.xml
mkdir -p /var/lib/clickhouse/metadata "/var/lib/clickhouse/data/$CLICKHOUSE_DB" "/var/lib/clickhouse/metadata/$CLICKHOUSE_DB"
echo "ATTACH DATABASE $CLICKHOUSE_DB ENGINE = Ordinary" >"/var/lib/clickhouse/metadata/$CLICKHOUSE_DB.sql"
chown -R clickhouse:clickhouse /var/lib/clickhouse /var/log/clickhouse-server
exec setpriv --reuid=clickhouse --regid=clickhouse --init-groups \
    clickhouse-server --config-file=/etc/clickhouse-server/config.xml
