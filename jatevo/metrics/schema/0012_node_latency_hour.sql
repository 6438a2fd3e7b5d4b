-- What the probes of an hour measured, as sets: a probe that comes again is in them already. A member is, from the
-- high bits to the low ones, 16 bits of a hash of the probe's id and twice 24 bits of a figure in tenths (of a
-- millisecond, of a token per second), all ones for one that it did not take. Sets of numbers and not of tuples,
-- because 18.16 dies of large sets of tuples when several threads put them together.
CREATE TABLE IF NOT EXISTS node_latency_hour
(
    hour DateTime('UTC'),
    node_id String,
    region String,
    p50_p95 AggregateFunction(groupUniqArray, UInt64),
    p99_tps AggregateFunction(groupUniqArray, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (toDate(hour), node_id, hour, region)
-- A drawer reads eight days of one node: small granules, so that it reads few sets of other nodes.
SETTINGS index_granularity = 1024;

CREATE MATERIALIZED VIEW IF NOT EXISTS node_latency_hour_feed TO node_latency_hour AS
SELECT
    toStartOfHour(ts) AS hour,
    node_id,
    region,
    groupUniqArrayState(
        (cityHash64(probe_id) % 65536) * 281474976710656
        + if(isNull(p50), 16777215, toUInt64(round(least(assumeNotNull(p50), 1677721.4) * 10))) * 16777216
        + if(isNull(p95), 16777215, toUInt64(round(least(assumeNotNull(p95), 1677721.4) * 10)))
    ) AS p50_p95,
    groupUniqArrayState(
        (cityHash64(probe_id) % 65536) * 281474976710656
        + if(isNull(p99), 16777215, toUInt64(round(least(assumeNotNull(p99), 1677721.4) * 10))) * 16777216
        + if(isNull(tps), 16777215, toUInt64(round(least(assumeNotNull(tps), 1677721.4) * 10)))
    ) AS p99_tps
FROM node_latency_minute
GROUP BY hour, node_id, region;
