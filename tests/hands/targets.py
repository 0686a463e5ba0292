"""What a hand acts on, for tests that have no PostgreSQL."""

from pathlib import Path

from domain.order import PostgresTarget, ServiceTarget, Target

_NO_SERVER = PostgresTarget(
    service="postgres",
    container_id="-",
    container_name="-",
    image_id="-",
    volume="-",
    mount_path="/data",
    pgdata="/data",
    uid=999,
    gid=999,
)


def bare_target(shelf: Path, *services: ServiceTarget, stack: str = "lab", project: str = "dr-lab") -> Target:
    """Return a target whose shelf and services are real; of PostgreSQL there is nothing but names."""
    return Target(stack=stack, project=project, postgres=_NO_SERVER, services=services, shelf=str(shelf))
