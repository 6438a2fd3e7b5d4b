"""Settings by file, as Docker's and Kubernetes' secrets are mounted (jatevo/environment.py)."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from jatevo.environment import Environment

BASE_DIR = Path(__file__).parents[2]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("from the file\n")
    return path


def test_a_variable_is_read_from_the_file_that_its_twin_names_without_the_line_end(secret: Path) -> None:
    assert Environment({"KEY_FILE": str(secret)}).str("KEY") == "from the file"


def test_the_file_wins_over_the_variable(secret: Path) -> None:
    assert Environment({"KEY": "from the variable", "KEY_FILE": str(secret)}).str("KEY") == "from the file"


def test_without_a_file_the_variable_or_the_default_holds() -> None:
    assert Environment({"KEY": "from the variable", "KEY_FILE": ""}).str("KEY") == "from the variable"
    assert Environment({}).str("KEY", default="none") == "none"


def test_numbers_and_lists_come_from_files_too(tmp_path: Path) -> None:
    (tmp_path / "days").write_text("30\n")
    assert Environment({"DAYS_FILE": str(tmp_path / "days")}).int("DAYS") == 30


def test_a_file_that_cannot_be_read_is_named_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"KEY_FILE names .*gone, which cannot be read: No such file"
    ):
        Environment({"KEY_FILE": str(tmp_path / "gone")}).str("KEY")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ImproperlyConfigured, match="it is not UTF-8"):
        Environment({"KEY_FILE": str(tmp_path / "bytes")}).str("KEY")


@pytest.mark.parametrize(
    ("name", "address", "complete"),
    [
        (
            "DATABASE",
            "postgres://jatevo@db:5432/jatevo?x=1",
            "postgres://jatevo:a%20b%2F%40%3A@db:5432/jatevo?x=1",
        ),
        ("REDIS", "redis://cache:6379/0", "redis://:a%20b%2F%40%3A@cache:6379/0"),
        (
            "CLICKHOUSE",
            "clickhouse://jatevo:@ch:9000/jatevo",
            "clickhouse://jatevo:a%20b%2F%40%3A@ch:9000/jatevo",
        ),
    ],
)
def test_a_stores_password_has_a_variable_of_its_own(name: str, address: str, complete: str) -> None:
    env = Environment({f"{name}_URL": address, f"{name}_PASSWORD": "a b/@:"})
    assert env.store_url(f"{name}_URL", default="") == complete


def test_each_server_of_a_cluster_gets_the_password() -> None:
    env = Environment({"NATS_URL": "nats://console@a:4222, nats://b:4222", "NATS_PASSWORD": "x/y"})
    assert env.store_urls("NATS_URL", default="") == "nats://console:x%2Fy@a:4222,nats://:x%2Fy@b:4222"
    assert Environment({"NATS_PASSWORD": "x"}).store_urls("NATS_URL", default="") == ""


def test_the_password_of_an_address_stays_and_no_address_gets_one() -> None:
    env = Environment(
        {"DATABASE_URL": "postgres://a:own@db/x", "DATABASE_PASSWORD": "other", "REDIS_PASSWORD": "x"}
    )
    assert env.store_url("DATABASE_URL", default="") == "postgres://a:own@db/x"
    assert env.store_url("REDIS_URL", default="") == ""
    assert Environment({}).store_url("DATABASE_URL", default="postgres:///jatevo") == "postgres:///jatevo"


def test_django_gets_the_password_as_it_is_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("a b/@:%ü\n")
    env = Environment(
        {"DATABASE_URL": "postgres://jatevo@db/x", "DATABASE_PASSWORD_FILE": str(tmp_path / "password")}
    )
    assert env.db_url_config(env.store_url("DATABASE_URL", default=""))["PASSWORD"] == "a b/@:%ü"


def test_the_console_starts_with_all_its_secrets_in_files(tmp_path: Path) -> None:
    values = {
        "JATEVO_SECRET_KEY": "a-secret-key",
        "JATEVO_MASTER_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "DATABASE_PASSWORD": "of-postgresql",
        "CLICKHOUSE_PASSWORD": "of-clickhouse",
    }
    env = {"DATABASE_URL": "postgres://jatevo@db/x", "CLICKHOUSE_URL": "clickhouse://jatevo@ch/x"}
    for name, value in values.items():
        (tmp_path / name).write_text(f"{value}\n")
        env[f"{name}_FILE"] = str(tmp_path / name)
    script = (
        "from jatevo import settings as s;"
        "print(s.SECRET_KEY, len(s.MASTER_KEY), s.DATABASES['default']['PASSWORD'], s.CLICKHOUSE_URL)"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=BASE_DIR, env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [
        "a-secret-key",
        "32",
        "of-postgresql",
        "clickhouse://jatevo:of-clickhouse@ch/x",
    ]
