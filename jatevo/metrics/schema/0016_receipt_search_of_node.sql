-- The rows of receipt_search once more, in the order of nodes: what is asked for some nodes, such as an operator's, reads
-- their rows alone. A view writes it, and repeats are absorbed as there. Small granules, so that one node reads little of
-- others.
CREATE TABLE IF NOT EXISTS receipt_search_of_node
(
    accepted_at DateTime('UTC'),
    id UInt64,
    micros UInt32,
    node_id String,
    request_id String,
    org_id String,
    region String,
    model String,
    tokens_input_low UInt32,
    tokens_input_high UInt32,
    tokens_output_low UInt32,
    tokens_output_high UInt32,
    p95_ms Float64,
    hedged UInt8,
    cache_hit UInt8,
    outcome Enum8('ok' = 0, 'error' = 1, 'cancelled' = 2),
    signed_with Enum8('unknown' = 0, 'current' = 1, 'former' = 2),
    payment Enum8('pending' = 0, 'payable' = 1, 'held' = 2, 'excluded' = 3),
    fee_usd Decimal(38, 16),
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(accepted_at)
ORDER BY (node_id, accepted_at, id)
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS receipt_search_of_node_feed TO receipt_search_of_node AS
SELECT
    accepted_at, id, micros, node_id, request_id, org_id, region, model, tokens_input_low, tokens_input_high,
    tokens_output_low, tokens_output_high, p95_ms, hedged, cache_hit, outcome, signed_with, payment, fee_usd, version
FROM receipt_search;
