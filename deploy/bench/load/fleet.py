"""A large invented fleet. The same seed and moment give the same fleet. Times are unix seconds (UTC)."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from jatevo.local.history.fleet import DAY, HOUR, MINUTE, InventedFleet, InventedNode, Silence, dice
from nodes.rules.lifecycle import Reason, Status

# They differ in size. The last two are so small that the public never sees them separately.
REGIONS = {
    "us-east": 24,
    "eu-central": 20,
    "ap-southeast": 16,
    "us-west": 12,
    "eu-west": 9,
    "ap-northeast": 8,
    "sa-east": 6,
    "ap-south": 5,
}
TINY_REGIONS = {"af-south": 3, "me-central": 4}
RUNTIMES = {"vllm": 45, "ollama": 35, "tensorrtllm": 12, "tgi": 8}
STATUSES = {Status.ACTIVE: 92, Status.OFFLINE: 4, Status.QUARANTINE: 3, Status.PENDING: 1}
# name in node ids, name in attestations, GB of memory, typical p50 in milliseconds
GPUS = (
    ("h100", "NVIDIA H100 80GB HBM3", 80, 90.0),
    ("a100", "NVIDIA A100-SXM4-80GB", 80, 140.0),
    ("l40s", "NVIDIA L40S", 48, 210.0),
    ("rtx4090", "NVIDIA GeForce RTX 4090", 24, 260.0),
    ("rtx3090", "NVIDIA GeForce RTX 3090", 24, 380.0),
    ("m3max", "Apple M3 Max", 48, 420.0),
    ("m2ultra", "Apple M2 Ultra", 128, 350.0),
)
MODELS = (
    "llama3.1-8b", "llama3.1-70b", "qwen2.5-7b", "qwen2.5-32b", "qwen2.5-72b", "mistral-7b", "mistral-nemo-12b",
    "mixtral-8x7b", "gemma2-9b", "gemma2-27b", "phi-3.5-mini", "deepseek-r1-14b", "deepseek-r1-32b", "command-r-35b",
)  # fmt: skip
NETWORKS = (
    "Hetzner", "OVH", "Comcast", "Deutsche Telekom", "NTT", "Singtel", "Vodafone", "Lambda", "CoreWeave", "Equinix",
    "Orange", "Telefonica", "KDDI", "Cogent", "Lumen", "Swisscom", "Telia", "Airtel", "Claro", "Leaseweb",
)  # fmt: skip
AGENT_VERSIONS = ("0.9.0", "0.9.2", "1.0.0", "1.0.1")
NODES_PER_ORG = 50
NODES_OF_THE_FIRST_ORG = 10  # that of the people who can sign in
SHARED_SHARE, GREEN_SHARE = 0.30, 0.35
DAYS_BETWEEN_NETWORK_OUTAGES = 5.0
DAYS_BETWEEN_OWN_OUTAGES = 10.0
HIT_BY_A_NETWORK_OUTAGE = 0.8
LONGEST_MEMBERSHIP_DAYS = 200

T = TypeVar("T")


def invent(*, nodes: int, days: int, seed: int, now: int) -> InventedFleet:
    """A fleet of `nodes` nodes, with their silences of the last `days` days up to `now`."""
    draw = dice(seed, f"fleet of {nodes}")
    regions = _regions(nodes, draw)
    statuses = _shares(STATUSES, nodes)
    draw.shuffle(statuses)
    orgs = max(2, round(nodes / NODES_PER_ORG))
    owners = _owners(nodes, orgs, draw)
    networks = [f"AS{draw.randint(1000, 65000)} {name}" for name in NETWORKS]
    outages = {asn: list(_network_outages(days, now, draw)) for asn in networks}
    members = tuple(
        _member(number, regions[number], statuses[number], owners[number], networks, outages, days, seed, now, draw)
        for number in range(nodes)
    )  # fmt: skip
    return InventedFleet(members, orgs)


def _member(
    number: int,
    region: str,
    status: Status,
    org: int,
    networks: Sequence[str],
    outages: dict[str, list[Silence]],
    days: int,
    seed: int,
    now: int,
    draw: random.Random,
) -> InventedNode:
    gpu = draw.randrange(len(GPUS))
    minute = now - now % MINUTE
    joined = minute - draw.randint(1, LONGEST_MEMBERSHIP_DAYS * 24) * HOUR
    if status is Status.PENDING:
        joined = minute - draw.randint(1, 55) * MINUTE
    asn = draw.choice(networks)
    # A status is at most a day old, except that of an active node, which dates from its last outage.
    changed = max(joined + HOUR, minute - draw.randint(10, DAY // MINUTE) * MINUTE)
    silences = list(_silences(outages[asn], days, now, draw))
    reason = None
    match status:
        case Status.OFFLINE:
            reason = Reason.NO_HEARTBEAT
            silences = [each for each in silences if each.until is None or each.until < changed - HOUR]
            silences.append(Silence(changed - 5 * MINUTE, None))
        case Status.QUARANTINE:
            reason = draw.choice(
                [Reason.AUDIT_FAILED, Reason.HEARTBEATS_MISSED, Reason.ADMIN, Reason.PROBES_FAILED]
            )
            silences = [each for each in silences if each.until is None or each.until < changed - HOUR]
        case Status.PENDING:
            silences, changed = [], joined
        case _:
            silences = [each for each in silences if each.since > joined + HOUR]
            reason = Reason.PROBE_PASSED
            changed = max([joined + MINUTE, *(each.until + MINUTE for each in silences if each.until)])
    return InventedNode(
        number=number,
        node_id=f"{region}-{GPUS[gpu][0]}-{number:05d}",
        org=org,
        region=region,
        runtime=draw.choices(list(RUNTIMES), list(RUNTIMES.values()))[0],
        status=status,
        reason=reason,
        status_since=changed,
        joined=joined,
        gpu_model=GPUS[gpu][1],
        vram_gb=GPUS[gpu][2],
        models=tuple(sorted(draw.sample(MODELS, draw.randint(1, 4)))),
        asn=asn,
        agent_version=draw.choice(AGENT_VERSIONS),
        shared=draw.random() < SHARED_SHARE,
        green=draw.random() < GREEN_SHARE,
        probing=draw.random() < 0.5,
        p50_ms=round(GPUS[gpu][3] * draw.uniform(0.7, 1.5), 1),
        endpoint=f"http://192.0.2.{number % 254 + 1}:8900",
        seed=seed,
        silences=tuple(each for each in silences if each.since > joined + HOUR),
    )


def _network_outages(days: int, now: int, draw: random.Random) -> Iterator[Silence]:
    at = float(now - days * DAY)
    while (at := at + draw.expovariate(1 / DAYS_BETWEEN_NETWORK_OUTAGES) * DAY) < now - 2 * HOUR:
        since = int(at) - int(at) % MINUTE
        yield Silence(since, since + draw.randint(8, 45) * MINUTE)


def _silences(network: Sequence[Silence], days: int, now: int, draw: random.Random) -> Iterator[Silence]:
    """A node's outages, including its network's, in order of time and without overlaps."""
    found = [each for each in network if draw.random() < HIT_BY_A_NETWORK_OUTAGE]
    at = float(now - days * DAY)
    while (at := at + draw.expovariate(1 / DAYS_BETWEEN_OWN_OUTAGES) * DAY) < now - 2 * HOUR:
        since = int(at) - int(at) % MINUTE
        found.append(Silence(since, since + draw.randint(6, 90) * MINUTE))
    heard_again = 0
    for each in sorted(found, key=lambda silence: silence.since):
        if each.since > heard_again + 10 * MINUTE and each.until is not None and each.until < now - HOUR:
            heard_again = each.until
            yield each


def _owners(nodes: int, orgs: int, draw: random.Random) -> list[int]:
    """The organisation of each node. In a small fleet the first has an even share."""
    first = min(NODES_OF_THE_FIRST_ORG, nodes // orgs)
    found = [*[0] * first, *(draw.randrange(1, orgs) for _ in range(nodes - first))]
    draw.shuffle(found)
    return found


def _regions(nodes: int, draw: random.Random) -> list[str]:
    tiny = [name for name, most in TINY_REGIONS.items() for _ in range(min(most, max(1, nodes // 50)))]
    found = [*tiny, *_shares(REGIONS, max(0, nodes - len(tiny)))][:nodes]
    draw.shuffle(found)
    return found


def _shares(shares: dict[T, int], count: int) -> list[T]:
    """`count` values in the given proportions, each at least once if there is room."""
    total = sum(shares.values())
    found = [value for value, share in shares.items() for _ in range(max(1, count * share // total))]
    largest = max(shares, key=lambda value: shares[value])
    return (found + [largest] * count)[:count] if len(found) < count else found[:count]
