"""Django's PostgreSQL backend with time limits for every request, job and check.

It is the ENGINE of DATABASES["default"]. The reasons are in docs/decisions/0009-every-store-has-a-budget.md.
"""
