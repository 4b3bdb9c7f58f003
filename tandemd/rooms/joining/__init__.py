"""A JOIN from the message to the greeting: limits, deferral, resume."""
