-- The fee in three numbers, which are added up several times faster than a decimal of 16 bytes with all of its digits: whole
-- US dollars, billionths of one, and what is left in units of the last digit of fee_usd. Nobody writes them: they follow
-- from fee_usd, which rates and token counts keep far below 2^63 dollars. receipt_search_of_node does without, because old
-- servers refuse what a view leaves out.
ALTER TABLE receipt_search ADD COLUMN fee_dollars Int64 DEFAULT toInt64(fee_usd);

ALTER TABLE receipt_search ADD COLUMN fee_nanos UInt32
    DEFAULT toUInt32((fee_usd - toDecimal128(fee_dollars, 16)) * 1000000000);

ALTER TABLE receipt_search ADD COLUMN fee_rest UInt32
    DEFAULT toUInt32(((fee_usd - toDecimal128(fee_dollars, 16)) * 1000000000 - toDecimal128(fee_nanos, 16)) * 10000000);
