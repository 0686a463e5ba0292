"""Objectives: what was promised for a scenario or a service."""

from domain.stack import Kind, Objective, Stack


def objective_of(stack: Stack, scenario: str) -> Objective | None:
    """Return the objective of a scenario, else of the service it is about, else ``None``."""
    found = stack.scenarios.get(scenario)
    if found is not None or scenario != "database_corruption":
        return found
    postgres = next((s for s in stack.services.values() if s.kind == "postgres"), None)
    return postgres.objective if postgres else None


def loss_objectives(stack: Stack) -> dict[str, float]:
    """Return how many seconds of each store may be lost, for the stores that promise something."""
    kinds = {"redis": Kind.REDIS, "objects": Kind.OBJECTS, "search": Kind.SEARCH}
    found = {store: stack.only(kind) for store, kind in kinds.items()}
    return {
        store: one[1].objective.rpo.total_seconds()
        for store, one in found.items()
        if one is not None and one[1].objective is not None
    }
