"""Tests of tandemd.archive."""
