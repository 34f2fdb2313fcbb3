"""Todo lists with members: an app of another domain than the chat, on the same public API."""
