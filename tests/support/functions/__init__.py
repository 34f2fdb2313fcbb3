"""Functions that only tests call; served by `--functions parley.chat,tests.support.functions`."""
