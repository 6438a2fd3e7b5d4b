-- One row per node and minute. Of several rows for a minute the one with most heartbeats stands, whatever
-- the order in which they came.
CREATE TABLE IF NOT EXISTS node_uptime_minute
(
    ts DateTime('UTC'),
    node_id String,
    up UInt8,
    beats UInt32
)
ENGINE = ReplacingMergeTree(beats)
PARTITION BY toYYYYMMDD(ts)
ORDER BY (node_id, ts);
