"""Earnings as files: CSV and JSON Lines by period, node, model, line or receipt."""
