"""What to do about a step that does not come: one sentence or two, and the command for the machine. Pure."""

from dataclasses import dataclass

from onboarding.agent_config import RUNTIME_URLS, Platform
from onboarding.commands import chores_of


@dataclass(frozen=True)
class Hint:
    """A text, and what to type on the machine."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Machine:
    """Where the agent runs, and the runtime beside it."""

    platform: Platform
    runtime: str = ""
    runtime_url: str = ""

    @property
    def runtime_at(self) -> str:
        return self.runtime_url or RUNTIME_URLS.get(self.runtime, "")


_OLLAMA_STARTS = {
    Platform.MAC: "open -a Ollama",
    Platform.LINUX: "sudo systemctl start ollama",
    Platform.NVIDIA: "sudo systemctl start ollama",
}
_STARTS = {
    "vllm": "vllm serve <model> --host 127.0.0.1 --port 8000",
    "tensorrtllm": "trtllm-serve <model> --host 127.0.0.1 --port 8000",
    "tgi": "text-generation-launcher --model-id <model> --hostname 127.0.0.1 --port 8080",
}


def chore(machine: Machine, name: str) -> str:
    """The command for a chore, as on a machine where the script was run without root."""
    first = chores_of(machine.platform)[0]
    return next(each.command for each in first.chores if each.name == name)


def not_registered(machine: Machine) -> Hint:
    return Hint(
        "Nothing has registered yet. If the command has ended, look into the agent's log: it says why.",
        chore(machine, "Logs"),
    )


def no_heartbeat(machine: Machine) -> Hint:
    return Hint(
        "The agent has registered but sends no heartbeats. It has probably stopped: start it again.",
        chore(machine, "Restart"),
    )


def gone_offline(machine: Machine) -> Hint:
    awake = " A Mac whose lid is closed sleeps." if machine.platform is Platform.MAC else ""
    return Hint(f"The agent no longer sends heartbeats. Start it again.{awake}", chore(machine, "Restart"))


def runtime_down(machine: Machine) -> Hint:
    """Also for runtimes that nobody named, such as those of enrolments over the API."""
    start = (
        _OLLAMA_STARTS[machine.platform] if machine.runtime == "ollama" else _STARTS.get(machine.runtime, "")
    )
    where = f" at {machine.runtime_at}" if machine.runtime_at else ""
    return Hint(
        f"The agent gets no answer from its runtime{where}. Start it, or correct runtime_url in agent.yaml.",
        start,
    )


def no_models(machine: Machine) -> Hint:
    if machine.runtime == "ollama":
        return Hint("Ollama answers but has no models. Download one.", "ollama pull llama3.1:8b")
    return Hint(
        "The runtime answers but offers no model. Check that it has loaded one, and that `models` in agent.yaml does not"
        " leave it out.",
        f"curl -fsS {machine.runtime_at}/v1/models" if machine.runtime_at else "",
    )


def unreachable(machine: Machine, endpoint: str) -> Hint:
    """Validators do not reach the node, so no gateway can."""
    tried = f" Validators cannot reach {endpoint}." if endpoint else ""
    return Hint(
        f"No gateway can send this node traffic until it is reachable.{tried} Forward a port of your router to port"
        " 11435 of this machine, use its public IPv6 address, or run a tunnel of your choice. Then set listen and"
        " endpoint in agent.yaml and restart the agent.",
        chore(machine, "Restart"),
    )


def not_probed(machine: Machine, endpoint: str) -> Hint:
    where = endpoint or "the endpoint"
    return Hint(
        f"No validator has reached {where} yet. It must be reachable from outside your network. The agent can check it:",
        chore(machine, "Find out what is wrong"),
    )


def no_receipt() -> Hint:
    return Hint("Any completed request leaves one. Prove it sends one through the node now.")
