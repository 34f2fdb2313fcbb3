"""The wire without I/O: text in, messages out; results in, frames out (PROTOCOL.md)."""
