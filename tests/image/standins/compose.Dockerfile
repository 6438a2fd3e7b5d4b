# Compose, which reads compose.yaml and says what it means.
FROM localhost/debian:forky
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends docker-compose >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
