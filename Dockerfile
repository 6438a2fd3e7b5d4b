# The console's image: web, lane, worker and migrations run from it, each with its own command (compose.yaml).
#
#   docker build -t jatevo-console .
#
# Dependencies come from uv.lock, hashes and all. What only the one-machine run needs (PostgreSQL, Valkey and
# ClickHouse's engine as wheels) is left out. `make image-test` builds it and runs compose.yaml with it.

ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.9
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir "uv==${UV_VERSION}"
ENV UV_PROJECT_ENVIRONMENT=/opt/venv \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=true
WORKDIR /app
# The dependencies first: they change less often than the code, and their layer is kept.
COPY pyproject.toml uv.lock ./
# The console speaks English only, so 30 MB of translations are never read.
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --no-install-project --python python3 \
    && find /opt/venv -name '*.[mp]o' -delete
COPY . .
# The settings insist on secrets and stores; collecting files needs neither, so these open nothing.
RUN JATEVO_SECRET_KEY=only-for-the-build \
    JATEVO_MASTER_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= \
    JATEVO_STATIC_ROOT=/app/staticfiles \
    /opt/venv/bin/python manage.py collectstatic --no-input -v0 \
    && /opt/venv/bin/python -m compileall -q jatevo nodes receipts earnings onboarding

# The demo fleet's: the same, and the reference agent.
FROM build AS build-demo
# Built with the locked hatchling that is there already.
RUN /opt/uv/bin/uv sync --frozen --no-default-groups --group demo --no-install-project --no-editable \
        --no-build-isolation-package jatevo-agent --python python3

FROM ${PYTHON_IMAGE} AS base
# Nothing that installs packages stays.
RUN find /usr \( -name ensurepip -o -name python-wheels -o -path '*-packages/pip*' -o -path '*-packages/setuptools*' \
        -o -path '*-packages/wheel*' -o -path '*/bin/pip*' \) -prune -exec rm -rf {} + \
    && useradd --uid 10001 --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin jatevo \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/jatevo
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    JATEVO_HOME=/var/lib/jatevo \
    JATEVO_STATIC_ROOT=/app/staticfiles
USER 10001
STOPSIGNAL SIGTERM

FROM base AS demo
COPY --from=build-demo /opt/venv /opt/venv
COPY --from=build-demo /app /app
CMD ["python", "manage.py", "demo_fleet", "--console", "http://proxy:8081"]

FROM base AS console
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
EXPOSE 8000
# Whether the process lives; whether its stores answer is for /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
CMD ["granian", "--interface", "wsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", "jatevo.wsgi:application"]
