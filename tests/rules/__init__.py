"""Tests of tandemd.rules."""
