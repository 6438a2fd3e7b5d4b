# For docker.io/clickhouse/clickhouse-server. Debian has 18.16, the oldest that the console works with.
FROM localhost/debian:bookworm
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends clickhouse-server clickhouse-client wget >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --chmod=0755 clickhouse.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
