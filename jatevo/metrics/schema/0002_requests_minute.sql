-- Receipts per minute of `ts_end` and region, one row per outbox batch that had any. The batch id is kept
-- in PostgreSQL until the batch is delivered, so a batch delivered again replaces its own rows.
CREATE TABLE IF NOT EXISTS requests_minute
(
    ts DateTime('UTC'),
    region String,
    batch UUID,
    count UInt64,
    tokens_in UInt64,
    tokens_out UInt64,
    cache_hits UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (ts, region, batch);
