"""The reactive core: functions run on memory, live queries stay true, mutations commit in batches.

`engine.py` is the core without I/O, `node.py` the asyncio shell around it, `sync.py` one client.
"""
