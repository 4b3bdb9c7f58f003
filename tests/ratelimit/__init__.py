"""Tests of tandemd.ratelimit."""
