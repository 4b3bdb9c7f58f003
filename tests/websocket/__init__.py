"""Tests of tandemd.websocket."""
