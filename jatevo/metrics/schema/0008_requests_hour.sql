-- Receipts per hour of `ts_end` and region, still one row per outbox batch: sums cannot tell a repeat, a batch
-- that comes again with the same sums can be replaced. An insert into requests_minute must therefore hold all
-- that a batch has of an hour (writer.py cuts batches between days and nowhere else).
CREATE TABLE IF NOT EXISTS requests_hour
(
    hour DateTime('UTC'),
    region String,
    batch UUID,
    count UInt64,
    tokens_in UInt64,
    tokens_out UInt64,
    cache_hits UInt64,
    errors UInt64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (hour, region, batch);

CREATE MATERIALIZED VIEW IF NOT EXISTS requests_hour_feed TO requests_hour AS
SELECT
    toStartOfHour(ts) AS hour,
    region,
    batch,
    sum(count) AS count,
    sum(tokens_in) AS tokens_in,
    sum(tokens_out) AS tokens_out,
    sum(cache_hits) AS cache_hits,
    sum(errors) AS errors
FROM requests_minute
GROUP BY hour, region, batch;
