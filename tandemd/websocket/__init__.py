"""One WebSocket connection: frames in, messages out, flow control, keepalive.

May import: rooms, interfaces, rules, ratelimit, messages, metrics, errors, util.
"""
