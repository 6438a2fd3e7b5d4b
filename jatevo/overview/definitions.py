"""What the network's figures mean. The code of each is named beside it."""

from jatevo.web.definitions import define

# kpis.Snapshot.active_nodes
ACTIVE_NODES = define(
    "active_nodes",
    "Active nodes",
    text="Nodes whose status is active: they passed their probes and have sent a heartbeat within the last five"
    " minutes.",
    window="now",
    source="the console's register of nodes",
)

# queries.p95_of_network
P95_GLOBAL = define(
    "p95_global",
    "Avg p95 (global)",
    text="The latency that 95 % of the network's work stays under: the 95th percentile (t-digest) of what"
    " latency probes found on all nodes. A node's probes together weigh as much as the requests that it served"
    " meanwhile, and as one where it served none. Under five measurements it is not shown: too few samples.",
    window="the last 15 minutes",
    source="latency probes of the validators, weighted by receipts",
)

# queries.p95_of_network, kpis.Snapshot.regions
P95_BY_REGION = define(
    "p95_by_region",
    "p95 by region",
    text="The same percentile for the nodes of each region. For the public and for viewers, regions with fewer than"
    " five active nodes are taken together as “other”, so that no figure speaks of a single operator; “other”"
    " is not shown while it has fewer than five nodes itself and other regions are shown.",
    window="the last 15 minutes",
    source="latency probes of the validators, weighted by receipts",
)

# kpis.Snapshot.models_cached
MODELS_CACHED = define(
    "models_cached",
    "Models cached",
    text="Distinct models that active nodes report as ready to serve. A model that many nodes hold counts once.",
    window="now",
    source="the models that each node named at its registration or in its last heartbeats",
)

# kpis.Snapshot.models, queries.traffic_by_model
MODELS = define(
    "models",
    "Models",
    text="Each model that active nodes offer or that served somebody: on how many active nodes it is, the accepted"
    " receipts that name it, and the 95th percentile (t-digest) of the latencies that these receipts state."
    " Spellings that mean one model (QWEN3, qwen3:latest) count together. For the public and for viewers, models on"
    " fewer than five active nodes are taken together as “other”, without a p95; while those nodes are fewer than"
    " five even together, the requests of the model with the fewest nodes are told with theirs.",
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
    text="Receipts by the hour in which their requests ended. The last hour is still running, so its count is not"
    " whole yet.",
    window="whole hours, the last one running",
    source="signed receipts",
)
TOKENS_TREND = define(
    "tokens_trend",
    "Tokens per hour",
    text="Tokens read (in) and written (out) according to the receipts, by the hour in which their requests ended.",
    window="whole hours, the last one running",
    source="signed receipts",
)
ERRORS_TREND = define(
    "errors_trend",
    "Errors per hour",
    text="Receipts that report a failed request, by the hour in which it ended.",
    window="whole hours, the last one running",
    source="signed receipts",
)
HEATMAP = define(
    "region_hours",
    "Regions by hour",
    text="Each region's p95 and requests, hour by hour. An hour without measurements stays empty, and the p95 of"
    " regions taken together as “other” is unknown, because percentiles do not add up. Where these have fewer than"
    " five nodes even together, the requests of the smallest region shown are counted with theirs, and not apart.",
    window="24 whole hours, the last one running",
    source="latency probes and signed receipts, summed up every five seconds (p95: each minute on large fleets)",
)

# history.day_changes
DAY_CHANGE = define(
    "day_change",
    "Change against the day before",
    text="Active nodes and models against the count taken 24 hours ago, requests against the 24 hours before these,"
    " and p95 against that of the whole hour 24 hours ago. It is not shown while one of the two is unknown.",
    window="now and 24 hours ago",
    source="the hourly records behind the trends",
)
