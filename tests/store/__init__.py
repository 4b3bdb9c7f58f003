"""Tests of tandemd.store."""
