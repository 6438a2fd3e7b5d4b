-- Fills the outbox with all that PostgreSQL knows, for a ClickHouse that is empty. See clickhouse-down.md.
-- Run it while no worker runs: it replaces the receipts that wait, and a shipper must not be among them.
-- One snapshot, so that a receipt accepted meanwhile is in the outbox once: by its own row.
BEGIN ISOLATION LEVEL REPEATABLE READ;

DELETE FROM metrics_outbox WHERE kind = 'receipt';

INSERT INTO metrics_outbox (kind, body)
SELECT 'receipt', jsonb_build_object(
    'node_id', node_id,
    'request_id', request_id,
    'region', region,
    'model_id', model_id,
    'ts_start', floor(extract(epoch FROM ts_start))::bigint,
    'ts_end', floor(extract(epoch FROM ts_end))::bigint,
    'accepted_at', floor(extract(epoch FROM accepted_at))::bigint,
    'tokens_input', tokens_input,
    'tokens_output', tokens_output,
    'p95_ms', p95_ms,
    'hedged', hedged,
    'cache_hit', cache_hit,
    'failed', failed)
FROM receipts_receipt;

INSERT INTO metrics_outbox (kind, body)
SELECT 'latency', jsonb_build_object(
    'probe_id', probe.id,
    'node_id', probe.node_id,
    'region', node.region,
    'ts', floor(extract(epoch FROM probe.received_at))::bigint,
    'p50', probe.p50_ms,
    'p95', probe.p95_ms,
    'p99', probe.p99_ms,
    'tps', probe.tps)
FROM nodes_probe AS probe
JOIN nodes_node AS node ON node.id = probe.node_id
WHERE probe.ok AND probe.p95_ms IS NOT NULL;

INSERT INTO metrics_outbox (kind, body)
SELECT 'uptime', jsonb_build_object(
    'node_id', node_id,
    'minute', floor(extract(epoch FROM minute))::bigint,
    'up', true,
    'beats', beats)
FROM nodes_heartbeatminute
WHERE beats > 0;

COMMIT;
