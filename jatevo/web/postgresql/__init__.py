"""Django's PostgreSQL backend with a budget: no request, job or check waits for PostgreSQL longer than it may.

DATABASES["default"]["ENGINE"] names this package. docs/decisions/0009-every-store-has-a-budget.md says why.
"""
