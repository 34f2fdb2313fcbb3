"""Tokens: whom they name, or a clear refusal."""
