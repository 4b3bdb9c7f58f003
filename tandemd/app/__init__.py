"""The composition root and the process: node, listener, TLS, systemd, logging. Only `tap` imports it.

May import: every other package, except ctl.
"""
