-- requires: 21.8
-- Few different values, which newer servers compare as numbers.
ALTER TABLE receipt_search
    MODIFY COLUMN node_id LowCardinality(String),
    MODIFY COLUMN org_id LowCardinality(String),
    MODIFY COLUMN region LowCardinality(String),
    MODIFY COLUMN model LowCardinality(String);
