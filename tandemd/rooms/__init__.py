"""Rooms that are open on this node: replicas of their logs, sessions, playback synchronisation."""
