"""What the Docs say about the agent is what the agent does: its file, its commands, the runtimes' ports."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from jatevo_agent import cli
from jatevo_agent.config import Config, load_config

from jatevo.docs.book import find_page, source_of
from nodes.models import Runtime
from onboarding.agent_config import RUNTIME_URLS
from tests.docs.programs import FENCE, first_block

# Where the agent's own names differ from the keys of the file.
KEYS = {"listen_host": "listen", "listen_port": "listen", "simulate_per_second": "simulate"}


def page(slug: str) -> str:
    found = find_page(slug)
    assert found is not None
    return source_of(found)


def test_the_agent_accepts_the_file_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text(first_block("agent", "yaml").replace("jve_…", "jve_abc"))
    config = load_config(path, environment={})
    assert (config.node_id, config.region, config.runtime) == ("macbook-001", "ap-southeast", "ollama")
    assert config.endpoint == "http://203.0.113.7:11435"


def test_the_page_names_every_key_of_the_file() -> None:
    text = page("agent")
    known = {KEYS.get(field.name, field.name) for field in fields(Config)}
    assert not [key for key in known if f"`{key}`" not in text and f"\n{key}:" not in text]


@pytest.mark.parametrize("slug", ["behind-nat", *(f"runtimes/{name}" for name in ("ollama", "vllm", "tgi"))])
def test_pieces_of_the_file_on_other_pages_are_accepted(slug: str, tmp_path: Path) -> None:
    whole = 'console: "http://127.0.0.1"\nregion: here\n'
    pieces = [code for language, _, code in FENCE.findall(page(slug)) if language == "yaml"]
    assert pieces
    for piece in pieces:
        path = tmp_path / "agent.yaml"
        path.write_text(whole + ("" if "runtime:" in piece else "runtime: ollama\n") + piece)
        load_config(path, environment={})


def test_the_page_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    commands = set(re.findall(r"^    ([a-z-]+)", capsys.readouterr().out, re.MULTILINE))
    text = page("agent")
    assert len(commands) >= 7
    assert not [name for name in commands if f"`jatevo-agent {name}" not in text]


@pytest.mark.parametrize("runtime", Runtime)
def test_runtimes_have_the_ports_that_the_page_says(runtime: Runtime) -> None:
    line = next(line for line in page("runtimes/index").splitlines() if line.startswith(f"| `{runtime}`"))
    assert f"`{RUNTIME_URLS[runtime]}`" in line
