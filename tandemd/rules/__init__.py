"""The rules of a room: pure functions over immutable state, without I/O, clock or randomness.

May import: ratelimit, messages, errors; no Twisted.
"""
