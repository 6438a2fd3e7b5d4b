# For docker.io/library/postgres:18, with the part of its entrypoint that compose.yaml uses.
FROM localhost/debian:forky
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-18 >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/lib/postgresql && install -d -o postgres -m 0700 /var/lib/postgresql
ENV PATH=/usr/lib/postgresql/18/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
COPY postgres.sh /entrypoint.sh
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/entrypoint.sh"]
CMD ["postgres"]
