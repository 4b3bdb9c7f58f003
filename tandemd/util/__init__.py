"""Helpers for Twisted that know nothing of tandemd."""
