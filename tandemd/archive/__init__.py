"""Durable SQL behind the rooms: SQLite or PostgreSQL, the same tables and the same statements for both.

migrate  ->  schema/*.sql        before the reactor runs
database ->  dialect             transactions in threads; sqlite and postgresql are the two dialects
tables   ->  records             what IArchive promises, in SQL
writer                           from the memory store to the archive, in batches
"""
