"""The models of the network: how many nodes offer them, what they served, and what others may see. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jatevo.metrics.queries import ModelTraffic
from jatevo.wire.names import normal_model

# With fewer active nodes, a model's figures could reveal those of single operators (decision 0007).
FEWEST_PUBLIC_NODES = 5
OTHER_MODELS = "other"  # the name of such models together


@dataclass(frozen=True)
class Offered:
    """A model on active nodes: its most common spelling, and the number of nodes."""

    name: str
    nodes: int


@dataclass(frozen=True)
class Offers:
    """The models on active nodes by their normal form.

    `nodes_of_few` counts nodes with a model that few have.
    """

    models: Mapping[str, Offered] = field(default_factory=dict)
    nodes_of_few: int = 0


@dataclass(frozen=True)
class ModelLine:
    """A model in the table. None is unknown or not shown to this reader; `unknown` says why."""

    name: str
    nodes: int
    requests: int | None
    p95_ms: float | None
    together: bool = False  # all models that are not shown one by one
    unknown: str = ""


def offers_of(groups: Iterable[tuple[Sequence[str], int]]) -> Offers:
    """Counts models, from lists of models with the number of nodes that offer exactly these."""
    lists = [({normal_model(name): name for name in reversed(names)}, nodes) for names, nodes in groups]
    spellings: dict[str, Counter[str]] = {}
    for models, nodes in lists:
        for normal, name in models.items():
            spellings.setdefault(normal, Counter())[name] += nodes
    offered = {
        normal: Offered(min(names, key=lambda name: (-names[name], name)), names.total())
        for normal, names in spellings.items()
    }
    few = {normal for normal, model in offered.items() if model.nodes < FEWEST_PUBLIC_NODES}
    return Offers(offered, sum(nodes for models, nodes in lists if not few.isdisjoint(models)))


def model_lines(
    offers: Offers, traffic: Mapping[str, ModelTraffic] | None, *, fold_small: bool
) -> list[ModelLine]:
    """The models that active nodes offer or that served requests, the busiest first.

    `traffic` None is unknown.

    With `fold_small`, models of few active nodes are one row without a name or p95. If these have few nodes
    even together, the requests of the shown model with the fewest nodes are added to theirs, so that theirs
    cannot be found by subtraction from the network's.
    """
    lines = {
        normal: _line(offers.models.get(normal), normal, traffic)
        for normal in {*offers.models, *(traffic or {})}
    }
    if not fold_small:
        return _busiest_first(lines.values())
    large = [line for line in lines.values() if line.nodes >= FEWEST_PUBLIC_NODES]
    small = [line for line in lines.values() if line.nodes < FEWEST_PUBLIC_NODES]
    if not small:
        return _busiest_first(large)
    counted = list(small)
    if offers.nodes_of_few < FEWEST_PUBLIC_NODES and large:
        cover = min(large, key=lambda line: (line.nodes, line.name))
        counted.append(cover)
        large[large.index(cover)] = replace(cover, requests=None, unknown="included in other models")
    requests = None if traffic is None else sum(line.requests or 0 for line in counted)
    together = ModelLine(
        OTHER_MODELS,
        offers.nodes_of_few,
        requests,
        None,
        together=True,
        unknown="not shown for combined models",
    )
    return [*_busiest_first(large), together]


def _line(offered: Offered | None, normal: str, traffic: Mapping[str, ModelTraffic] | None) -> ModelLine:
    name, nodes = (offered.name, offered.nodes) if offered else (normal, 0)
    if traffic is None:
        return ModelLine(name, nodes, None, None, unknown="unknown")
    served = traffic.get(normal)
    if served is None:
        return ModelLine(name, nodes, 0, None, unknown="no requests")
    return ModelLine(
        name, nodes, served.requests, served.p95_ms, unknown="" if served.p95_ms is not None else "unknown"
    )


def _busiest_first(lines: Iterable[ModelLine]) -> list[ModelLine]:
    return sorted(lines, key=lambda line: (-(line.requests or 0), -line.nodes, line.name))
