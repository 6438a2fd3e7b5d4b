"""Reads the migrations for what would disturb a console that is running: part of `make lint`.

django-migration-linter's rules for PostgreSQL, and this project's own (rules.py).
"""
