-- for each partition of: requests_minute
-- Rows from before the column say 0. The failures of those days come from the receipts themselves, as rows
-- that count nothing else, under the nil batch; a second run replaces them. (A batch that the release before
-- wrote and never cleared brings its failures along when it is delivered again; they then count twice.)
INSERT INTO requests_minute (ts, region, batch, count, tokens_in, tokens_out, cache_hits, errors)
SELECT
    toStartOfMinute(ts_end) AS minute,
    region,
    toUUID('00000000-0000-0000-0000-000000000000'),
    0, 0, 0, 0,
    uniqExact(node_id, request_id)
FROM receipt_facts
WHERE failed = 1 AND toYYYYMMDD(ts_end) = {partition}
GROUP BY minute, region
SETTINGS max_execution_time = 3600;
