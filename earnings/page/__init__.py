"""The page of earnings, the receipts behind its figures, and the tab of a node."""
