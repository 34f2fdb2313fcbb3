"""The app that the harness runs; its tables are in `tests/faults/app.sql`."""
