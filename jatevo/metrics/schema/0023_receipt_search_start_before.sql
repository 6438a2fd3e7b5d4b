-- requires: 22.3
-- The parts from before. It takes about a second for ten million receipts. Older servers compute it until parts are merged.
ALTER TABLE receipt_search MATERIALIZE COLUMN request_start;
