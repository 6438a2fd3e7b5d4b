-- One row per accepted receipt with what people search by and what they add up, payment included. Of several rows
-- for a receipt the one with the highest version stands: 0 before it is judged, then the id of its newest verdict.
-- Only payment, fee and version differ between them, so conditions on other columns may be in PREWHERE.
-- `accepted_at` has whole seconds here, and `micros` the rest of PostgreSQL's. `org_id` is empty where acceptance
-- did not record it. No slow compression: sums over all receipts read every one of these columns but a few. Token
-- counts are in halves of 32 bits: sums of whole ones could overflow, and the upper halves are nearly always 0.
CREATE TABLE IF NOT EXISTS receipt_search
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
ORDER BY (accepted_at, id);

-- Which filling of receipt_search this is. PostgreSQL has the same id: if they differ, this table does not hold
-- what PostgreSQL believes that it holds, and is filled anew.
CREATE TABLE IF NOT EXISTS receipt_search_origin
(
    origin String,
    noted_at DateTime('UTC')
)
ENGINE = ReplacingMergeTree(noted_at)
ORDER BY origin;
