# For docker.io/library/nginx:1.30.
FROM localhost/debian:forky
ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light curl >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
