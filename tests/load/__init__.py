"""Benchmarks: the server beside its floors, in one run on one machine (docs/performance.md)."""
