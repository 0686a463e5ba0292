"""Who runs on a volume: two servers on one directory both write, and no lock file sees it."""

from collections.abc import Collection

from activities.engine import Engine
from domain.errors import Refused


def refuse_if_in_use(
    engine: Engine, volumes: Collection[str], *, but: str = "", writable_only: bool = False
) -> None:
    """Refuse while any container runs, pauses or restarts on one of the volumes, by name or by path.

    ``but`` is the id of the one container that may; ``writable_only`` lets those be that only read.
    """
    paths = tuple(f"{engine.root()}/volumes/{name}/" for name in volumes)
    for other in engine.running():
        if other.id == but:
            continue
        for mount in other.raw["Mounts"]:
            if writable_only and not mount.get("RW", True):
                continue
            if mount.get("Name") in volumes or f"{mount.get('Source', '')}/".startswith(paths):
                raise Refused(
                    f"the container {other.name} runs on a volume that has to be ours alone",
                    where=str(mount.get("Name") or mount.get("Source")),
                    hint="stop it; a running container keeps the directory that it opened",
                    code="volume-in-use",
                )
