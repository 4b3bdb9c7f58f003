"""Tests of tandemd.ctl."""
