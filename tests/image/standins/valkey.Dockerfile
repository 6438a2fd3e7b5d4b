# For docker.io/valkey/valkey:9.
FROM localhost/debian:forky
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends valkey-server valkey-tools >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/* && install -d -o valkey /data
WORKDIR /data
CMD ["valkey-server"]
