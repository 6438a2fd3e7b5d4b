-- requires: 21.8
-- Compression that only newer servers have. Measurements and instants that grow slowly shrink severalfold;
-- nothing in the queries depends on it.
ALTER TABLE receipt_facts
    MODIFY COLUMN ts_start DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN ts_end DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN accepted_at DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN region LowCardinality(String),
    MODIFY COLUMN model_id LowCardinality(String),
    MODIFY COLUMN request_id String CODEC(ZSTD(1));

ALTER TABLE node_latency_minute
    MODIFY COLUMN ts DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    MODIFY COLUMN region LowCardinality(String),
    MODIFY COLUMN p50 Nullable(Float64) CODEC(ZSTD(1)),
    MODIFY COLUMN p95 Nullable(Float64) CODEC(ZSTD(1)),
    MODIFY COLUMN p99 Nullable(Float64) CODEC(ZSTD(1)),
    MODIFY COLUMN tps Nullable(Float64) CODEC(ZSTD(1));

ALTER TABLE node_uptime_minute
    MODIFY COLUMN ts DateTime('UTC') CODEC(DoubleDelta, ZSTD(1));
