-- for each partition of: receipt_search
-- The rows that the view did not see. It may see some of them too, which is harmless.
INSERT INTO receipt_search_of_node
(
    accepted_at, id, micros, node_id, request_id, org_id, region, model, tokens_input_low, tokens_input_high,
    tokens_output_low, tokens_output_high, p95_ms, hedged, cache_hit, outcome, signed_with, payment, fee_usd, version
)
SELECT
    accepted_at, id, micros, node_id, request_id, org_id, region, model, tokens_input_low, tokens_input_high,
    tokens_output_low, tokens_output_high, p95_ms, hedged, cache_hit, outcome, signed_with, payment, fee_usd, version
FROM receipt_search
WHERE toYYYYMM(accepted_at) = {partition}
SETTINGS max_execution_time = 3600;
