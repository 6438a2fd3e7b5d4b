-- One row per probe that measured latency; `ts` is the probe's own second. Milliseconds, and tokens per
-- second. The hour leads the key because pages ask for the last minutes of all nodes as often as for the
-- last day of one.
CREATE TABLE IF NOT EXISTS node_latency_minute
(
    ts DateTime('UTC'),
    node_id String,
    region String,
    probe_id String,
    p50 Nullable(Float64),
    p95 Nullable(Float64),
    p99 Nullable(Float64),
    tps Nullable(Float64)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(ts)
ORDER BY (toStartOfHour(ts), node_id, ts, probe_id);
