"""The rules of a room: pure functions over immutable state, with no I/O, clock or randomness of their own."""
