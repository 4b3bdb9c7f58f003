"""One WebSocket connection: frames in, messages out, flow control, keepalive."""
