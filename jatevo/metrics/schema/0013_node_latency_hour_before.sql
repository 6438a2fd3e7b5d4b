-- for each partition of: node_latency_minute
-- The probes that the view did not see; those it did see are in their sets already.
INSERT INTO node_latency_hour (hour, node_id, region, p50_p95, p99_tps)
SELECT
    toStartOfHour(ts) AS hour,
    node_id,
    region,
    groupUniqArrayState(
        (cityHash64(probe_id) % 65536) * 281474976710656
        + if(isNull(p50), 16777215, toUInt64(round(least(assumeNotNull(p50), 1677721.4) * 10))) * 16777216
        + if(isNull(p95), 16777215, toUInt64(round(least(assumeNotNull(p95), 1677721.4) * 10)))
    ),
    groupUniqArrayState(
        (cityHash64(probe_id) % 65536) * 281474976710656
        + if(isNull(p99), 16777215, toUInt64(round(least(assumeNotNull(p99), 1677721.4) * 10))) * 16777216
        + if(isNull(tps), 16777215, toUInt64(round(least(assumeNotNull(tps), 1677721.4) * 10)))
    )
FROM node_latency_minute
WHERE toYYYYMMDD(ts) = {partition}
GROUP BY hour, node_id, region
SETTINGS max_execution_time = 3600;
