"""Tests of tandemd.app."""
