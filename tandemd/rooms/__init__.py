"""Rooms that are open on this node: replicas of their logs, sessions, playback synchronisation.

May import: interfaces, rules, ratelimit, messages, metrics, errors, util; no sockets, SQL, Redis or HTTP.
"""
