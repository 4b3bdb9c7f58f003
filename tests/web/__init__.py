"""Tests of tandemd.web."""
