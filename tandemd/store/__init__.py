"""Where rooms are kept: their version, fields and log, by compare-and-set. No rules in here."""
