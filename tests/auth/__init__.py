"""Tests of tandemd.auth."""
