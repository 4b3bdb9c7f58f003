"""Tests of packages, manifests and alerts."""
