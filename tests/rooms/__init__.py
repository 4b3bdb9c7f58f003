"""Tests of tandemd.rooms."""
