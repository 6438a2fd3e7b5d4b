"""The review queue: held receipts by node and cause, and disputes between organisations."""
