"""The list of nodes: its columns, filters, order and export."""
