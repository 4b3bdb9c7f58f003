"""Durable SQL behind the rooms: SQLite or PostgreSQL, the same tables and the same statements for both.

migrations -> schema/*.sql       before the reactor runs
database -> dialect              transactions in threads, for sqlite and postgresql
sql_archive -> rows, statements  IArchive in SQL
writer                           batches from the memory store

May import: interfaces, config, rules, messages, metrics, util.
"""
