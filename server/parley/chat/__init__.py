"""The chat: users, conversations and messages, written with the public API only.

What is not yours does not exist: another user's conversation reads as one that was never there, and
a write to it fails as a write to nothing.
"""
