"""All configuration. The environment is read only here. .env.example lists every variable. Each can also be read from a
file that `…_FILE` names (jatevo/environment.py).

In embedded mode, `python -m jatevo.local` starts private stores and sets DATABASE_URL, REDIS_URL and
CLICKHOUSE_URL before Django loads.
"""

import base64
import binascii
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from redis.backoff import NoBackoff
from redis.retry import Retry

from jatevo.environment import Environment

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()


def secret(name: str, hint: str) -> str:
    """The variable's value. If it is missing, the process stops with a message that says what to set."""
    value = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(f"{name} is not set. {hint}")
    return value


DEBUG = env.bool("JATEVO_DEBUG", default=False)
EMBEDDED = env.bool("JATEVO_EMBEDDED", default=False)
HOME = Path(env.str("JATEVO_HOME", default=str(BASE_DIR / ".local"))).resolve()
BASE_URL = env.str("JATEVO_BASE_URL", default=f"http://127.0.0.1:{env.int('PORT', default=8000)}").rstrip("/")
SECURE = BASE_URL.startswith("https://")

SECRET_KEY = secret("JATEVO_SECRET_KEY", "Set it to 50 or more random characters; `make run` makes its own.")
_master = secret("JATEVO_MASTER_KEY", "Set it to the base64 of 32 random bytes; node tokens derive from it.")
try:
    MASTER_KEY = base64.b64decode(_master, validate=True)
except binascii.Error as error:
    raise ImproperlyConfigured("JATEVO_MASTER_KEY is not base64.") from error
MASTER_KEY_TEXT = _master  # as it must not be in a log
if len(MASTER_KEY) < 32:
    raise ImproperlyConfigured("JATEVO_MASTER_KEY must be the base64 of at least 32 bytes.")

ALLOWED_HOSTS = env.list("JATEVO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("JATEVO_TRUSTED_ORIGINS", default=[BASE_URL])
# The number of our reverse proxies that append to X-Forwarded-For. With 0 the header is ignored.
TRUSTED_PROXIES = env.int("JATEVO_TRUSTED_PROXIES", default=0)
if TRUSTED_PROXIES:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "jatevo.telemetry",  # first, because it says how metrics are counted
    "django_prometheus",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "drf_spectacular",
    "django_filters",
    "django_htmx",
    "template_partials",
    "csp",
    "guardian",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "waffle",
    "procrastinate.contrib.django",
    "jatevo.web",
    "jatevo.audit",
    "jatevo.flags",
    "jatevo.accounts",
    "jatevo.metrics",
    "nodes",
    "receipts",
    "earnings",
    "onboarding",
    "jatevo.overview",
    "jatevo.docs",
    "jatevo.bus",
    "jatevo.local",
]

MIDDLEWARE = [
    "jatevo.web.observed.ObservedMiddleware",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "jatevo.web.middleware.RequestIdMiddleware",
    "jatevo.web.middleware.LivenessMiddleware",
    "jatevo.web.middleware.BudgetMiddleware",
    "jatevo.web.machine_requests.MachineRequestsMiddleware",  # what machines post goes no further
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "jatevo.web.middleware.PageGZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "jatevo.web.front_door.FrontDoorMiddleware",
    "jatevo.web.middleware.ApiGateMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "jatevo.accounts.middleware.CookieLoginMiddleware",
    "jatevo.web.page_limits.PageLimitMiddleware",
    "jatevo.accounts.time_zones.TimeZoneMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

FORM_RENDERER = "jatevo.web.form_rendering.FormRenderer"
ROOT_URLCONF = "jatevo.urls"
WSGI_APPLICATION = "jatevo.wsgi.application"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "jatevo.accounts.navigation.navigation",
            ],
        },
    },
]


def database(url: str, *, connect_seconds: int, direct_url: str = "") -> dict[str, Any]:
    """A PostgreSQL server, by its URL. Connections go back to a pool."""
    given = env.db_url_config(url)
    options = {"connect_timeout": connect_seconds, "application_name": "jatevo", **given.get("OPTIONS", {})}
    direct = env.db_url_config(direct_url) if direct_url else None
    return {
        **given,
        "ENGINE": "jatevo.web.postgresql",
        "CONN_MAX_AGE": 0,
        "DIRECT": direct,
        "OPTIONS": options,
    }


# Set if DATABASE_URL is a PgBouncer in transaction mode: the way past it, for what needs a session of its own
# (jatevo/web/postgresql/pooling.py).
_direct_url = env.store_url("DATABASE_DIRECT_URL", default="")
DATABASES = {
    "default": database(
        env.store_url("DATABASE_URL", default="postgres:///jatevo"), connect_seconds=2, direct_url=_direct_url
    )
}
# A streaming replica, from which the receipts explorer reads (jatevo/web/postgresql/replica.py).
if _replica := env.store_url("DATABASE_REPLICA_URL", default=""):
    DATABASES["replica"] = database(_replica, connect_seconds=1)
DATABASE_ROUTERS = ["jatevo.web.postgresql.replica.ReadingRouter"]
# The most connections that a process opens for each of pages, ingest and jobs
# (jatevo/web/postgresql/budgets.py). The default is the one-machine server's number of threads, so that its
# requests never wait for a connection.
DATABASE_POOL_SIZE = env.int("JATEVO_DB_POOL_SIZE", default=16)
# Off for a PgBouncer in transaction mode, unless it keeps track of prepared statements. That takes 1.22, because psycopg
# sends DEALLOCATE ALL after a rollback.
DATABASE_PREPARES_STATEMENTS = env.bool("JATEVO_DB_PREPARED_STATEMENTS", default=not _direct_url)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.store_url("REDIS_URL", default="redis://127.0.0.1:6379/0")
REDIS_TIMEOUT_SECONDS = 0.3
# For each process. With redis-py's default of 100, many threads at once would look like an outage.
REDIS_MAX_CONNECTIONS = 1000
CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": "jatevo.web.cache.BreakerCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "jatevo",
        "OPTIONS": {
            "SOCKET_CONNECT_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "SOCKET_TIMEOUT": REDIS_TIMEOUT_SECONDS,
            "CONNECTION_POOL_KWARGS": {
                "retry": Retry(NoBackoff(), 0),
                "max_connections": REDIS_MAX_CONNECTIONS,
            },
        },
    }
}

# The event bus, which `manage.py consume` reads. Several servers of a cluster are separated by commas.
NATS_URL = env.store_urls("NATS_URL", default="")

CLICKHOUSE_URL = env.store_url("CLICKHOUSE_URL", default="")
CLICKHOUSE_TIMEOUT_SECONDS = 2.0
# The cluster of the servers' remote_servers over which the tables are distributed, and whether its shards are replicated.
CLICKHOUSE_CLUSTER = env.str("CLICKHOUSE_CLUSTER", default="")
CLICKHOUSE_REPLICATED = env.bool("CLICKHOUSE_REPLICATED", default=True)
CHDB_PATH = HOME / "chdb"

# Days of retention (jatevo/metrics/retention_policy.py). A check refuses less than the figures need.
RETENTION_DAYS = {
    "raw_minutes": env.int("JATEVO_KEEP_RAW_MINUTES_DAYS", default=30),
    "rollups": env.int("JATEVO_KEEP_ROLLUPS_DAYS", default=365),
    "receipts": env.int("JATEVO_KEEP_RECEIPTS_DAYS", default=400),
    "earnings": env.int("JATEVO_KEEP_EARNINGS_DAYS", default=1827),  # items and verdicts: five years
    "refused_receipts": env.int("JATEVO_KEEP_REFUSED_RECEIPTS_DAYS", default=90),  # but for forged ones
    "parked_messages": env.int("JATEVO_KEEP_PARKED_MESSAGES_DAYS", default=30),  # of the event bus
    "exports": env.int("JATEVO_KEEP_EXPORTS_DAYS", default=7),  # files that the worker wrote
    "probes": env.int("JATEVO_KEEP_PROBES_DAYS", default=30),
    "reputation": env.int("JATEVO_KEEP_REPUTATION_DAYS", default=16),
    "heartbeat_minutes": env.int("JATEVO_KEEP_HEARTBEAT_MINUTES_DAYS", default=2),
}

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
PASSWORD_HASHERS = ["jatevo.accounts.hashers.CappedArgon2"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "jatevo.accounts.passwords.GuessableValidator"},
]
PASSWORD_RESET_TIMEOUT = env.int("JATEVO_PASSWORD_RESET_SECONDS", default=3600)

# Without EMAIL_URL the console sends no mail. Its login page then says whom to ask for a new password.
EMAIL_URL = env.str("EMAIL_URL", default="")
SENDS_MAIL = bool(EMAIL_URL)
if SENDS_MAIL:
    vars().update(env.email_url_config(EMAIL_URL))
else:
    # The one-machine run prints its mails; services have nobody who would read them there.
    EMAIL_BACKEND = f"django.core.mail.backends.{'console' if EMBEDDED else 'dummy'}.EmailBackend"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("JATEVO_MAIL_FROM", default="jatevo@localhost")
SUPPORT_CONTACT = env.str("JATEVO_SUPPORT_CONTACT", default="")
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "overview:home"
OTP_TOTP_ISSUER = "Jatevo"

ACCESS_TOKEN_TTL = timedelta(seconds=env.int("JATEVO_ACCESS_TTL_SECONDS", default=300))
REFRESH_TOKEN_TTL = timedelta(seconds=env.int("JATEVO_REFRESH_TTL_SECONDS", default=14 * 86400))
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": ACCESS_TOKEN_TTL,
    "REFRESH_TOKEN_LIFETIME": REFRESH_TOKEN_TTL,
    "ALGORITHM": "HS256",
    "SIGNING_KEY": SECRET_KEY,
    "ISSUER": "jatevo",
    "UPDATE_LAST_LOGIN": False,
    "LEEWAY": 5,  # seconds by which the clocks of two web hosts may differ
}

SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
CSRF_FAILURE_VIEW = "jatevo.web.pages.csrf_failure"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_SSL_REDIRECT = False  # the proxy redirects people; agents must not be redirected
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "manifest-src": [SELF],
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "/static/"
STATIC_ROOT = Path(env.str("JATEVO_STATIC_ROOT", default=str(HOME / "static")))
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jatevo.accounts.authentication.JwtAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["jatevo.web.rendering.JsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["jatevo.web.strict_json.StrictJsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "jatevo.web.rendering.JsonOnly",
    "DEFAULT_SCHEMA_CLASS": "jatevo.web.openapi.ConsoleSchema",
    "EXCEPTION_HANDLER": "jatevo.web.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Jatevo console API",
    "DESCRIPTION": "For agents, validators, auditors and third-party dashboards.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1/",
    "SCHEMA_PATH_PREFIX_INSERT": "",
    "POSTPROCESSING_HOOKS": ["jatevo.web.openapi.add_error_answers"],
}

# Limits of the HTTP contract
MAX_BODY_BYTES = 256 * 1024
MAX_BATCH_BODY_BYTES = 2 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BATCH_BODY_BYTES + 1024
FILE_UPLOAD_HANDLERS = ["jatevo.web.uploads.BoundedUploadHandler"]
CLOCK_TOLERANCE_SECONDS = 300
HEARTBEAT_LEAD_SECONDS = 30  # how far a heartbeat's ts may be ahead of our clock
HEARTBEAT_INTERVAL_SECONDS = env.int("JATEVO_HEARTBEAT_INTERVAL_SECONDS", default=10)
RATE_LIMITS = {
    "node": env.str("JATEVO_LIMIT_NODE", default="10/second"),
    "receipts": env.str("JATEVO_LIMIT_RECEIPTS", default="5/second"),
    "validator": env.str("JATEVO_LIMIT_VALIDATOR", default="200/second"),
    "gateway": env.str("JATEVO_LIMIT_GATEWAY", default="50/second"),
    "address": env.str("JATEVO_LIMIT_ADDRESS", default="5000/second"),
    "register": env.str("JATEVO_LIMIT_REGISTER", default="300/second"),
    "login_address": env.str("JATEVO_LIMIT_LOGIN_ADDRESS", default="30/minute"),
    "login_account": env.str("JATEVO_LIMIT_LOGIN_ACCOUNT", default="10/minute"),
    "login_device": env.str("JATEVO_LIMIT_LOGIN_DEVICE", default="10/minute"),
    "reset_address": env.str("JATEVO_LIMIT_RESET_ADDRESS", default="10/hour"),
    "reset_account": env.str("JATEVO_LIMIT_RESET_ACCOUNT", default="3/hour"),
    "reads": env.str("JATEVO_LIMIT_READS", default="100/second"),
    "pages": env.str("JATEVO_LIMIT_PAGES", default="1200/minute"),
    "exports": env.str("JATEVO_LIMIT_EXPORTS", default="10/minute"),
    "install": env.str("JATEVO_LIMIT_INSTALL", default="60/minute"),
}

# Node lifecycle
NODE_OFFLINE_AFTER_SECONDS = env.int("JATEVO_OFFLINE_AFTER_SECONDS", default=300)
SWEEP_GAP_SECONDS = env.int("JATEVO_SWEEP_GAP_SECONDS", default=60)
# The latency target of probes. Slower probes cost reputation.
REPUTATION_P95_TARGET_MS = env.float("JATEVO_P95_TARGET_MS", default=2000.0)
# Targets of runtimes that differ from it. A node that misses its target in most probes of 6 hours, with at
# least this many probes, is quarantined.
P95_TARGETS_MS: dict[str, float] = env.dict("JATEVO_P95_TARGETS_MS", cast={"value": float}, default={})
SLO_LEAST_PROBES = env.int("JATEVO_SLO_LEAST_PROBES", default=30)
MAINTENANCE_DAYS_PER_WINDOW = env.int("JATEVO_MAINTENANCE_DAYS", default=7)  # of any 14 days
ENROLLMENT_TTL = timedelta(hours=24)
INSTALL_CODE_TTL = timedelta(hours=1)  # the one-line install command of Run a Node
# Private networks in which the console may prove nodes, besides those of the embedded run.
PROOF_NETWORKS = env.list("JATEVO_PROOF_NETWORKS", default=[])
# A MaxMind ASN database, used to find a node's ASN from the address of its heartbeats. Without it, admins
# set the ASN.
ASN_DATABASE = env.str("JATEVO_ASN_DATABASE", default="")

# Where a page of the Docs can be edited, with {path} for its file. Without it the pages have no such link.
DOCS_EDIT_URL = env.str("JATEVO_DOCS_EDIT_URL", default="")

PROCRASTINATE_ON_APP_READY = None
# A worker that starts makes up for each periodic job once if it was due in the last day. A console that runs only by day
# would never run those of the night.
PROCRASTINATE_PERIODIC_DEFAULTS = {"max_delay": timedelta(days=1).total_seconds()}
PROMETHEUS_EXPORT_MIGRATIONS = False
WAFFLE_CREATE_MISSING_FLAGS = False
METRICS_TOKEN = env.str("JATEVO_METRICS_TOKEN", default="")
# A folder in which the processes of a host count together. Without it, each counts for itself.
METRICS_FOLDER = Path(_folder) if (_folder := env.str("PROMETHEUS_MULTIPROC_DIR", default="")) else None
# Where traces are sent (OTLP over HTTP). Without it, none are recorded.
OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
SERVICE_NAME = env.str("OTEL_SERVICE_NAME", default="jatevo")
# The part of the requests and jobs that is recorded, unless the caller's traceparent decides, and the most traces that a
# process begins in a second, because anyone can send a traceparent.
TRACES_RATIO = env.float("OTEL_TRACES_SAMPLER_ARG", default=0.01)
TRACES_PER_SECOND = env.int("JATEVO_TRACES_PER_SECOND", default=20)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processors": "ext://jatevo.web.logs.RENDER",
            "foreign_pre_chain": "ext://jatevo.web.logs.ENRICH",
        }
    },
    "filters": {
        "is_no_outage": {
            "()": "django.utils.log.CallbackFilter",
            "callback": "ext://jatevo.web.logs.is_no_outage",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": env.str("JATEVO_LOG_LEVEL", default="INFO")},
    "loggers": {
        # without Django's own handlers, which write lines that are neither JSON nor redacted
        "django": {"handlers": [], "level": "INFO"},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
        "procrastinate": {"level": "WARNING"},
        # it warns about every request that waits for a thread
        "waitress.queue": {"level": "ERROR"},
        # it warns about every lost or failed connection, which the breaker logs once
        "psycopg.pool": {"level": "ERROR"},
        # it logs a traceback for every failed connection, which the breaker's caller logs in one line
        "clickhouse_driver": {"level": "CRITICAL"},
        "django.request": {"level": "ERROR", "filters": ["is_no_outage"]},
        "httpx": {"level": "WARNING"},
    },
}
