"""The page of all nodes: its columns, filters, order and exports."""
