"""The process that does the work: settings, wiring, connection, shutdown, telemetry."""
