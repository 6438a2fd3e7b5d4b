-- Seven digits are enough for a mean, and there is half as much to read.
ALTER TABLE receipt_search MODIFY COLUMN p95_ms Float32;

ALTER TABLE receipt_search_of_node MODIFY COLUMN p95_ms Float32;
