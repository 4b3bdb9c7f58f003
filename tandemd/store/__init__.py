"""Storage of open rooms: version, fields and log, changed by compare-and-set. The stores know no rules.

May import: interfaces, rules, ratelimit, metrics, errors, util.
"""
