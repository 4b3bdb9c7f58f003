"""One node as a process: put together, listening, TLS, systemd, logging. Imported by `tap` only."""
