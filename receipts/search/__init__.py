"""Search in ClickHouse: totals, bars and pages over any set of receipts, and what keeps its copy of them complete."""
