"""Tests of tandemd.rooms.joining."""
