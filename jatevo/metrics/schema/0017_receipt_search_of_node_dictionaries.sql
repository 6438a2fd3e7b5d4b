-- requires: 21.8
-- As in receipt_search.
ALTER TABLE receipt_search_of_node
    MODIFY COLUMN org_id LowCardinality(String),
    MODIFY COLUMN region LowCardinality(String),
    MODIFY COLUMN model LowCardinality(String);
