"""Figures about tandemd: `make bench`. See docs/performance.md."""
