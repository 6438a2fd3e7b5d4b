-- for each partition of: requests_minute
-- The hours that the view did not see. What it did see gets the same rows again, which replace themselves.
INSERT INTO requests_hour (hour, region, batch, count, tokens_in, tokens_out, cache_hits, errors)
SELECT toStartOfHour(ts) AS hour, region, batch, sum(c), sum(i), sum(o), sum(h), sum(e)
FROM
(
    SELECT
        ts,
        region,
        batch,
        max(count) AS c,
        max(tokens_in) AS i,
        max(tokens_out) AS o,
        max(cache_hits) AS h,
        max(errors) AS e
    FROM requests_minute
    WHERE toYYYYMMDD(ts) = {partition}
    GROUP BY ts, region, batch
)
GROUP BY hour, region, batch
SETTINGS max_execution_time = 3600;
