# For docker.io/library/postgres:18, with the part of its entrypoint that compose.yaml uses.
FROM localhost/debian:forky
ENV DEBIAN_FRONTEND=noninteractive
RUN mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends postgresql-18 >/dev/null \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/lib/postgresql && install -d -o postgres -m 0700 /var/lib/postgresql \
    && install -d -o postgres -g postgres -m 3777 /var/run/postgresql
ENV PATH=/usr/lib/postgresql/18/bin:$PATH PGDATA=/var/lib/postgresql/18/docker
COPY --chmod=0755 postgres.sh /entrypoint.sh
STOPSIGNAL SIGINT
ENTRYPOINT ["/entrypoint.sh"]
CMD ["postgres"]
