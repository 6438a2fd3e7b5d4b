"""The requests to measure, by role, with the limit for each."""

from collections.abc import Sequence
from dataclasses import dataclass

ROLES = ("admin", "operator", "viewer", "nobody")
WARM_MS, COLD_MS, LIST_MS, DRAWER_MS = 20.0, 250.0, 100.0, 150.0
TABS = ("metrics", "receipts", "hardware", "earnings", "reputation", "history")
SORTS = (
    "name", "status", "region", "runtime", "reputation", "p95", "uptime", "heartbeat", "gpu", "agent", "energy",
    "since", "registered", "org", "asn",
)  # fmt: skip
FILTERS = {
    "no filter": "",
    "status": "status=active",
    "status, few": "status=quarantine",
    "attention": "status=attention",
    "region": "region=us-east",
    "region, tiny": "region=af-south",
    "runtime": "runtime=vllm",
    "reputation": "reputation_range=40-90",
    "mine": "mine=1",
    "text, many": "q=h100",
    "text, one": "q=00042",
    "text, a model": "q=llama3.1-70b",
    "text, an ASN": "q=Hetzner",
    "text, an org": "q=Org 1-007",
    "text, none": "q=zzzz",
    "three at once": "status=active&region=eu-central&runtime=vllm",
    "all at once": "q=a100&status=active&region=us-east&runtime=ollama&reputation_range=50-100",
}


@dataclass(frozen=True)
class Case:
    """A URL requested by `role`. With `target`, it is requested as htmx does for that element."""

    group: str
    name: str
    path: str
    role: str = "admin"
    limit_ms: float | None = None
    target: str = ""


def yardstick() -> Case:
    """The server's cheapest answer, to compare machines."""
    return Case("yardstick", "/healthz", "/healthz", role="nobody")


def summaries(limit_ms: float, group: str) -> list[Case]:
    """The Overview and its API, for each role."""
    pages = [Case(group, f"Overview, {role}", "/", role, limit_ms) for role in ROLES]
    return [*pages, *(Case(group, f"/v1/summary, {role}", "/v1/summary", role, limit_ms) for role in ROLES)]


def lists() -> list[Case]:
    """The node list: every filter, every order in both directions, late pages, and combinations."""
    queries = list(FILTERS.items())
    queries += [(f"by {key}, {way or 'up'}", f"sort={sign}{key}") for key in SORTS for sign, way in (("", ""), ("-", "down"))]  # fmt: skip
    queries += [(f"page {page}", f"page={page}") for page in (2, 100, 400)]
    queries += [
        ("page 200 by p95", "sort=-p95&page=200"),
        ("text and order", "q=a100&sort=-uptime"),
        ("filter, order, page", "status=active&runtime=vllm&sort=reputation&page=50"),
        ("all columns", "columns=status,region,runtime,reputation,p95,uptime,heartbeat,models,gpu,agent,energy,since,registered,org,asn"),
    ]  # fmt: skip
    found = [Case("nodes", name, f"/nodes/?{query}".rstrip("?"), "admin", LIST_MS) for name, query in queries]
    for role in ("operator", "viewer"):
        found.append(Case("nodes", f"no filter, {role}", "/nodes/", role, LIST_MS))
    found.append(Case("nodes", "poll of the rows", "/nodes/?sort=-p95", "admin", LIST_MS, "nodes-list"))
    return found


def drawers(node_ids: Sequence[str]) -> list[Case]:
    """Each tab of these nodes in the drawer, and the first tab as a page."""
    found = []
    for node_id in node_ids:
        page = f"/nodes/{node_id}/"
        found += [Case("drawer", tab, f"{page}?tab={tab}", "admin", DRAWER_MS, "drawer-body") for tab in TABS]
        found.append(
            Case("drawer", "metrics, 7 days", f"{page}?window=7d", "admin", DRAWER_MS, "drawer-body")
        )
        found.append(Case("drawer", "as a page", page, "admin", DRAWER_MS))
    return found


def earnings(node_ids: Sequence[str]) -> list[Case]:
    """The pages and the API of earnings: an organisation's for its operator, the network's for an admin."""
    org = [
        Case("earnings", f"{path}, {role}", path, role, LIST_MS)
        for role in ("admin", "operator")
        for path in ("/earnings/", "/earnings/?by=model", "/v1/earnings?by=node,model&step=day")
    ]
    admin = [
        Case("earnings", path, path, "admin", LIST_MS)
        for path in ("/earnings/run/", "/earnings/review/", "/nodes/?sort=-earnings")
    ]
    nodes = [
        Case("earnings", name, path.format(node_id), "admin", LIST_MS)
        for node_id in node_ids
        for name, path in (
            ("a node", "/earnings/?node={}"),
            ("a node's API", "/v1/earnings/{}"),
            ("a node's receipts", "/earnings/receipts/?node={}"),
        )
    ]
    return [*org, *admin, *nodes]


def others() -> list[Case]:
    """Pages without a limit."""
    return [
        Case("others", "status page", "/status/", "nobody"),
        Case("others", "/v1/nodes", "/v1/nodes", "admin"),
        Case("others", "/v1/incidents", "/v1/incidents", "nobody"),
    ]
