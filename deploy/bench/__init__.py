"""Measures the console's pages over a large fleet: `make bench`. See docs/benchmarks.md."""
