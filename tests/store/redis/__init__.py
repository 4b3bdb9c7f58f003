"""Tests of tandemd.store.redis."""
