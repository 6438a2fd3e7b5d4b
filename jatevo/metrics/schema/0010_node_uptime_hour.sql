-- The minutes of an hour in which a node was up, as bits 0 to 59: a minute that comes again sets the same bit.
-- The day leads the key because the list asks for a week of all nodes, the drawer for a week of one.
CREATE TABLE IF NOT EXISTS node_uptime_hour
(
    hour DateTime('UTC'),
    node_id String,
    minutes_up AggregateFunction(groupBitOr, UInt64)
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (toDate(hour), node_id, hour);

CREATE MATERIALIZED VIEW IF NOT EXISTS node_uptime_hour_feed TO node_uptime_hour AS
SELECT
    toStartOfHour(ts) AS hour,
    node_id,
    groupBitOrState(if(up = 1, bitShiftLeft(toUInt64(1), toMinute(ts)), toUInt64(0))) AS minutes_up
FROM node_uptime_minute
GROUP BY hour, node_id;

-- A node's first minute on record, up or down: one row a node, kept for ever.
CREATE TABLE IF NOT EXISTS node_first_minute
(
    node_id String,
    first_minute AggregateFunction(min, DateTime('UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY node_id;

CREATE MATERIALIZED VIEW IF NOT EXISTS node_first_minute_feed TO node_first_minute AS
SELECT node_id, minState(ts) AS first_minute
FROM node_uptime_minute
GROUP BY node_id;
