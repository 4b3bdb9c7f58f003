"""Tests of tandemd.util."""
