"""Definitions of the network's figures. A comment names the code that computes each."""

from jatevo.web.definitions import define

# kpis.Snapshot.active_nodes
ACTIVE_NODES = define(
    "active_nodes",
    "Active nodes",
    text="Nodes whose status is active: they have passed their probes and sent a heartbeat within the last five"
    " minutes.",
    window="now",
    source="the console's register of nodes",
)

# queries.p95_of_network
P95_GLOBAL = define(
    "p95_global",
    "Avg p95 (global)",
    text="The latency that 95 % of the network's work stays under: the 95th percentile (t-digest) of latency"
    " probes of all nodes. The probes of a node are weighted by the requests that it served in the same window,"
    " and count as one request if it served none. With fewer than five measurements the figure is not shown.",
    window="the last 15 minutes",
    source="latency probes of the validators, weighted by receipts",
)

# queries.p95_of_network, kpis.Snapshot.regions
P95_BY_REGION = define(
    "p95_by_region",
    "p95 by region",
    text="The same percentile for the nodes of each region. For visitors and viewers, regions with fewer than five"
    " active nodes are combined as “other”, so that no figure describes a single operator. “Other” is not shown"
    " while it has fewer than five nodes itself and other regions are shown.",
    window="the last 15 minutes",
    source="latency probes of the validators, weighted by receipts",
)

# kpis.Snapshot.models_cached
MODELS_CACHED = define(
    "models_cached",
    "Models cached",
    text="Distinct models that active nodes report as ready to serve. A model that many nodes hold counts once.",
    window="now",
    source="the models that each node reported at registration or in its latest heartbeats",
)

# kpis.Snapshot.models, queries.traffic_by_model
MODELS = define(
    "models",
    "Models",
    text="Each model that active nodes offer or that served requests: the number of active nodes that have it, the"
    " accepted receipts that name it, and the 95th percentile (t-digest) of the latencies in these receipts."
    " Different spellings of one model (QWEN3, qwen3:latest) are combined. For visitors and viewers, models on fewer"
    " than five active nodes are combined as “other”, without a p95. If those nodes are fewer than five in total,"
    " the requests of the model with the next fewest nodes are added to “other”.",
    window="nodes: now; requests and p95: the last 24 hours, counted once a minute",
    source="the console's register of nodes, and signed receipts",
)

# kpis.Snapshot.requests_24h, queries.requests_count
REQUESTS_24H = define(
    "requests_24h",
    "Requests (24h)",
    text="Accepted receipts of requests that ended in the window, failed ones included. A hedged request counts once"
    " for each node that served it.",
    window="the last 24 hours, to the minute",
    source="signed receipts",
)

# history.network_hours
REQUESTS_TREND = define(
    "requests_trend",
    "Requests per hour",
    text="Receipts by the hour in which their requests ended. The last hour is incomplete.",
    window="whole hours; the last one is incomplete",
    source="signed receipts",
)
TOKENS_TREND = define(
    "tokens_trend",
    "Tokens per hour",
    text="Tokens read (in) and written (out) according to the receipts, by the hour in which their requests ended.",
    window="whole hours; the last one is incomplete",
    source="signed receipts",
)
ERRORS_TREND = define(
    "errors_trend",
    "Errors per hour",
    text="Receipts that report a failed request, by the hour in which it ended.",
    window="whole hours; the last one is incomplete",
    source="signed receipts",
)
HEATMAP = define(
    "region_hours",
    "Regions by hour",
    text="Each region's p95 and requests by hour. An hour without measurements is empty. The p95 of regions combined"
    " as “other” is unknown, because percentiles cannot be added. If these regions have fewer than five nodes in"
    " total, the requests of the smallest region shown are counted with theirs.",
    window="24 whole hours; the last one is incomplete",
    source="latency probes and signed receipts, aggregated every five seconds (p95: each minute on large fleets)",
)

# history.day_changes
DAY_CHANGE = define(
    "day_change",
    "Change since yesterday",
    text="Active nodes and models are compared with the count 24 hours ago, requests with the 24 hours before, and"
    " p95 with that of the whole hour 24 hours ago. The change is not shown if either value is unknown.",
    window="now and 24 hours ago",
    source="the hourly records behind the trends",
)
