"""What a node's figures mean."""

from jatevo.web.definitions import define

# queries.uptime_ratio
UPTIME_7D = define(
    "uptime_7d",
    "Uptime (7 days)",
    text="The share of minutes in which the node sent a heartbeat, counted from its first minute on record. Minutes in"
    " which the console heard no node do not count.",
    window="the last 7 days, in whole minutes, without the last two, whose heartbeats may still be on their way",
    source="the node's heartbeats",
)

# queries.latest_latency
NODE_P95 = define(
    "node_p95",
    "p95",
    text="The 95th percentile of latency that a validator measured in its last probe of the node.",
    window="the last probe, if it is younger than an hour",
    source="latency probes of the validators",
)

# nodes/rules/reachability.py
REACHABLE = define(
    "reachable",
    "Reachable",
    text="Whether validators reach the node's endpoint, from outside its network. Gateways send requests only to active"
    " nodes that are reachable. A node behind NAT can be active without being reachable: the console then checks it"
    " through its heartbeats.",
    window="the validators' last probe",
    source="probes of the validators",
)

# nodes/reputation/formula.py
REPUTATION = define(
    "reputation",
    "Reputation",
    text="From 0 to 100: 35 % reliability (heartbeats and health probes), 35 % correctness (audits, receipts that"
    " report failures, forged receipts), 20 % efficiency (latency within the target) and 10 % policy (quarantines"
    " and unannounced outages). With less than three days of evidence, the missing part counts as 70. Announced"
    " maintenance and declared incidents do not lower it. Below 40 a node is quarantined. A node on probation is"
    " quarantined only if it falls further.",
    window="14 days, day by day",
    source="heartbeats, probes, audits and the node's history",
)

EARNINGS_TO_DATE = define(
    "earnings_to_date",
    "Earnings to date",
    text="The fees of all receipts of the node that are paid, in US dollars. Unknown until rates are set.",
    window="since the node was registered",
    source="signed receipts and the rates in force when each request ended",
)
