"""The Starlette shell: the sync socket, the HTTP API, health and metrics."""
