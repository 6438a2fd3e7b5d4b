-- for each partition of: node_uptime_minute
-- The minutes that the views did not see; bits and a minimum take those they did see again unharmed.
INSERT INTO node_uptime_hour (hour, node_id, minutes_up)
SELECT
    toStartOfHour(ts) AS hour,
    node_id,
    groupBitOrState(if(up = 1, bitShiftLeft(toUInt64(1), toMinute(ts)), toUInt64(0)))
FROM node_uptime_minute
WHERE toYYYYMMDD(ts) = {partition}
GROUP BY hour, node_id
SETTINGS max_execution_time = 3600;

INSERT INTO node_first_minute (node_id, first_minute)
SELECT node_id, minState(ts)
FROM node_uptime_minute
WHERE toYYYYMMDD(ts) = {partition}
GROUP BY node_id
SETTINGS max_execution_time = 3600;
