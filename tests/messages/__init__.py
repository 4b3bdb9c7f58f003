"""Tests of tandemd.messages."""
