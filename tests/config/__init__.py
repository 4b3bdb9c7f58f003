"""Tests of tandemd.config."""
