-- requires: 21.8
-- What sums read of all receipts is stored as it is, because to decompress it took half of their time. It is up to 26
-- bytes of a receipt here and 34 there. What is nearly always 0 takes no space anyway. Older parts follow when they are merged.
ALTER TABLE receipt_search
    MODIFY COLUMN accepted_at DateTime('UTC') CODEC(NONE),
    MODIFY COLUMN tokens_input_low UInt32 CODEC(NONE),
    MODIFY COLUMN tokens_output_low UInt32 CODEC(NONE),
    MODIFY COLUMN p95_ms Float32 CODEC(NONE),
    MODIFY COLUMN cache_hit UInt8 CODEC(NONE),
    MODIFY COLUMN payment CODEC(NONE),
    MODIFY COLUMN fee_nanos CODEC(NONE),
    MODIFY COLUMN fee_rest CODEC(NONE);

ALTER TABLE receipt_search_of_node
    MODIFY COLUMN accepted_at DateTime('UTC') CODEC(NONE),
    MODIFY COLUMN tokens_input_low UInt32 CODEC(NONE),
    MODIFY COLUMN tokens_output_low UInt32 CODEC(NONE),
    MODIFY COLUMN p95_ms Float32 CODEC(NONE),
    MODIFY COLUMN cache_hit UInt8 CODEC(NONE),
    MODIFY COLUMN payment CODEC(NONE),
    MODIFY COLUMN fee_usd CODEC(NONE);
