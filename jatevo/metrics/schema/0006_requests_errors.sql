-- How many of the receipts said that the request failed.
ALTER TABLE requests_minute ADD COLUMN errors UInt64;
