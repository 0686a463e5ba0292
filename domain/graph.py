"""The dependency graph of a stack: who needs whom, and in which order to start and stop."""

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from domain.errors import Refused
from domain.order import ServiceTarget


def dependents_of(services: Sequence[ServiceTarget], name: str) -> tuple[str, ...]:
    """Return every service that needs ``name``, directly or through others, in start order."""
    needing = {name}
    waves = start_waves(services)
    # In start order a service comes after all that it needs, so one pass is enough.
    needed_by_name = {service.name: service.depends_on for service in services}
    for wave in waves:
        needing |= {other for other in wave if needing & set(needed_by_name[other])}
    return tuple(other for wave in waves for other in wave if other in needing and other != name)


def start_waves(
    services: Sequence[ServiceTarget], wanted: Iterable[str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """Return waves of services: those of one wave need nothing but what earlier waves hold.

    ``wanted`` leaves the others out and keeps the order that they imply. Raises ``Refused`` with
    code ``dependency-cycle``.
    """
    known = {service.name for service in services}
    chosen = known if wanted is None else set(wanted)
    sorter = TopologicalSorter(
        {service.name: [other for other in service.depends_on if other in known] for service in services}
    )
    try:
        sorter.prepare()
    except CycleError as error:
        raise Refused(
            f"the services need each other in a circle: {' -> '.join(reversed(error.args[1]))}",
            where="depends_on",
            hint="state depends_on of one of them in the stack file",
            code="dependency-cycle",
        ) from None
    waves: list[tuple[str, ...]] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        wave = tuple(sorted(name for name in ready if name in chosen))
        if wave:
            waves.append(wave)
    return tuple(waves)
