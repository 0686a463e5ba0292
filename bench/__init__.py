"""Measurements: overhead of the orchestration, whole recoveries, cost of the protection."""
