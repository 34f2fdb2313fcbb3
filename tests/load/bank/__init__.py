"""Accounts between which money moves; their table is in `accounts.sql`."""
