"""tandemctl: the operators' command. It uses a node's administration API, and checks configuration and servers itself.

May import: config, archive, auth, util; no part of a running node.
"""
