"""A watch-party server: people in a room watch the same title together."""

__version__ = "0.1.0"
