"""Postgres: the records, ranges, commits and log that the engine stands on."""
