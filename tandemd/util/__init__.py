"""Helpers for Twisted that know nothing of tandemd.

May import: no other package.
"""
