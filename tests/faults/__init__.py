"""The fault harness: real nodes, a real Postgres and many clients, broken on purpose and checked.

`python -m tests.faults.run --seed 1 --seconds 30 --schedule pairs` runs it once.
"""
