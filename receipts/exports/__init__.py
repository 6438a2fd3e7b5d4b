"""Receipts as files: CSV and JSON Lines of any search of the receipts page."""
