"""The agent's wheel: what is in it, and what the console says about it."""

import hashlib
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

from onboarding.agent_wheel import SOURCE, agent_wheel
from onboarding.agent_wheel import _build as build


def names_in_wheel() -> list[str]:
    with zipfile.ZipFile(BytesIO(agent_wheel().content)) as wheel:
        assert wheel.testzip() is None
        return wheel.namelist()


def test_the_wheel_holds_every_module_and_no_leftovers() -> None:
    held = set(names_in_wheel())
    modules = {path.relative_to(SOURCE).as_posix() for path in (SOURCE / "jatevo_agent").rglob("*.py")}
    assert modules <= held
    assert not [name for name in held if "__pycache__" in name or "tests/" in name]


def test_the_wheel_holds_the_wire_format_itself_and_not_the_link_to_it() -> None:
    wire = Path(__file__).resolve().parents[3] / "jatevo" / "wire"
    with zipfile.ZipFile(BytesIO(agent_wheel().content)) as wheel:
        for path in wire.glob("*.py"):
            entry = wheel.getinfo(f"jatevo_agent/wire/{path.name}")
            assert wheel.read(entry) == path.read_bytes()
            assert entry.external_attr >> 28 in (0, 0o10)  # a regular file


def test_the_same_files_give_the_same_bytes_in_every_process() -> None:
    first = agent_wheel()
    build.cache_clear()  # as in another process
    assert agent_wheel() == first
    assert hashlib.sha256(first.content).hexdigest() == first.sha256


def test_the_oldest_python_is_that_of_the_project() -> None:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={agent_wheel().least_python}"


def test_the_newest_agent_is_named_with_its_hash_and_downloads_without_signing_in(client: Any) -> None:
    newest = client.get("/install/agent.json").json()
    assert newest["name"] == f"jatevo_agent-{newest['version']}-py3-none-any.whl"
    assert newest["url"].endswith(f"/install/agent/{newest['name']}")
    answer = client.get(f"/install/agent/{newest['name']}")
    assert answer.status_code == 200
    assert hashlib.sha256(answer.content).hexdigest() == newest["sha256"]
    digest = client.get(f"/install/agent/{newest['name']}.sha256")
    assert digest.content.decode() == f"{newest['sha256']}  {newest['name']}\n"


def test_a_cached_wheel_is_not_sent_again(client: Any) -> None:
    url = client.get("/install/agent.json").json()["url"]
    etag = client.get(url)["ETag"]
    assert client.get(url, headers={"If-None-Match": etag}).status_code == 304


def test_another_version_is_not_there(client: Any) -> None:
    assert client.get("/install/agent/jatevo_agent-0.0.1-py3-none-any.whl").status_code == 404
    assert client.get("/install/agent/..%2Fpyproject.toml").status_code == 404
