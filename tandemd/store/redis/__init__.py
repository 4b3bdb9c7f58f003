"""Rooms in Redis: commits by compare-and-set, pub/sub, mailboxes, the journal, cluster membership."""
