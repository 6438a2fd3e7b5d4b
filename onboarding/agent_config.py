"""The text of an `agent.yaml`. Pure: values in, text out.

The keys are those that the reference agent reads (jatevo_agent/config.py). Every text is a YAML double-quoted
scalar, so that no answer in a form can change the file's structure.
"""

from dataclasses import dataclass
from enum import StrEnum

from jatevo.wire.concurrency import DEFAULT_CONCURRENCY
from jatevo.wire.endpoints import EndpointError, parse_endpoint

HEALTH_PORT = 11435
# Where each runtime listens by default, as the agent assumes it.
RUNTIME_URLS = {
    "ollama": "http://127.0.0.1:11434",
    "vllm": "http://127.0.0.1:8000",
    "tensorrtllm": "http://127.0.0.1:8000",
    "tgi": "http://127.0.0.1:8080",
}


class Platform(StrEnum):
    """What a node runs on."""

    MAC = "mac"
    LINUX = "linux"
    NVIDIA = "nvidia"


@dataclass(frozen=True)
class AgentConfig:
    """The operator's answers. With '' a key is left to be filled in by hand or by the agent."""

    console: str
    enrollment_token: str
    node_id: str
    region: str
    runtime: str
    endpoint: str = ""
    runtime_url: str = ""
    models: tuple[str, ...] = ()
    concurrency: int = DEFAULT_CONCURRENCY
    wallet_chain: str = ""
    wallet_address: str = ""
    registered: bool = False  # needs no enrolment token any more


def quoted(value: str) -> str:
    """The value as a YAML double-quoted scalar that any parser reads back as the same text."""
    return '"' + "".join(_escaped(character) for character in value) + '"'


def render(config: AgentConfig) -> str:
    """The file's text, comments included, ending in a newline."""
    lines = [
        "# Configuration of the Jatevo agent. Keep it readable by you alone (chmod 600).",
        f"console: {quoted(config.console)}",
        *(_NODE_TOKEN_LINES if config.registered else _token_lines(config.enrollment_token)),
        *_line("node_id", config.node_id, "by default made from the machine's name"),
        *_line("region", config.region, "for example ap-southeast"),
        *_line("runtime", config.runtime, "ollama, vllm, tensorrtllm or tgi"),
        *_line("runtime_url", config.runtime_url or RUNTIME_URLS.get(config.runtime, ""), "where it answers"),
        "# Only these of the runtime's models are offered; without names, all of them.",
        f"models: [{', '.join(quoted(model) for model in config.models)}]",
        "# How many requests the runtime serves at once.",
        f"concurrency: {config.concurrency}",
        "",
        "# Where the agent listens, and the address under which validators and gateways reach it.",
        f"listen: {quoted(listen_for(config.endpoint))}",
        *_line("endpoint", config.endpoint, f"for example http://203.0.113.7:{HEALTH_PORT}"),
        "# Who may connect: `console` stands for the networks that the console publishes. Without it, anyone.",
        "# allow_from: [console]",
        "",
        "# Where earnings are paid.",
        *_wallet_lines(config.wallet_chain, config.wallet_address),
        "",
        "# To try the agent without a runtime: made-up requests a second. They need a name in `models`.",
        "# simulate: 0.2",
    ]
    return "\n".join(lines) + "\n"


def listen_for(endpoint: str) -> str:
    """The address to listen on for an endpoint: that of a loopback endpoint, else all addresses.

    An IPv4 endpoint is served on IPv4. A name may resolve to either, so it is served on both, like IPv6.
    """
    try:
        parts = parse_endpoint(endpoint)
    except EndpointError:  # none was given
        return f"127.0.0.1:{HEALTH_PORT}"
    # a proxy in front of the agent terminates TLS and listens at the endpoint
    port = HEALTH_PORT if parts.scheme == "https" else parts.port
    address = parts.address
    if parts.is_loopback:
        host = str(address or "127.0.0.1")
    else:
        host = "0.0.0.0" if address is not None and address.version == 4 else "::"  # noqa: S104 - as it says
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return f"\\U{ord(character):08x}"


_NODE_TOKEN_LINES = (
    "# This node is registered: the agent keeps its token beside its key, and needs none here. If that is lost,",
    "# make a new token on the node's page (Manage, New token) and put it here.",
    '# node_token: "whsec_…"',
)


def _token_lines(token: str) -> list[str]:
    if token:
        return ["# Registers this node, once; worthless afterwards.", f"enrollment_token: {quoted(token)}"]
    return [
        "# The token was shown once. Put yours here, or create a new one on the Run a node page.",
        '# enrollment_token: "jve_…"',
    ]


def _line(key: str, value: str, otherwise: str) -> list[str]:
    return [f"{key}: {quoted(value)}"] if value else [f'# {key}: ""  # {otherwise}']


def _wallet_lines(chain: str, address: str) -> list[str]:
    if not address:
        return ["# wallet:", '#   chain: "solana"', '#   address: ""']
    return ["wallet:", f"  chain: {quoted(chain)}", f"  address: {quoted(address)}"]
