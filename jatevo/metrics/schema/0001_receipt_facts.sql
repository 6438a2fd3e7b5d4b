-- One row per accepted receipt: what PostgreSQL's `receipts` says, in the shape that aggregates want.
-- A receipt delivered again has the same sorting key, so it replaces itself. The key starts with the day
-- and the node because reads ask for a window, or for one node within a window. The month of acceptance
-- is the partition, as in PostgreSQL: retention drops the same months from both.
CREATE TABLE IF NOT EXISTS receipt_facts
(
    node_id String,
    request_id String,
    region String,
    model_id String,
    ts_start DateTime('UTC'),
    ts_end DateTime('UTC'),
    accepted_at DateTime('UTC'),
    tokens_input UInt64,
    tokens_output UInt64,
    p95_ms Nullable(Float64),
    hedged UInt8,
    cache_hit UInt8,
    failed UInt8,
    payable UInt8
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(accepted_at)
ORDER BY (toDate(ts_end), node_id, ts_end, request_id);
