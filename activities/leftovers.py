"""What recoveries left on this host: found by their id, and said with what can be done about it."""

from dataclasses import dataclass, field
from pathlib import Path

from activities.engine import Engine
from activities.ledger_journal import LedgerFiles
from activities.postgres import swap
from activities.records import Records
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK
from domain.order import Target
from domain.paths import is_part

_KEEPER = "keeper"
_SERVICES = "services"


@dataclass
class Leftover:
    """The artefacts of one recovery."""

    recovery_id: str
    containers: list[str] = field(default_factory=list)
    """Copies and jobs, with their state; not the keeper, which may stay."""
    volumes: list[str] = field(default_factory=list)
    """Restored copies that no server serves from."""
    kept: list[str] = field(default_factory=list)
    """Old data kept aside, held by a keeper."""
    exchanged: bool = True
    """False when the kept volume's exchange was begun and never recorded as done."""
    flagged: bool = False
    """The ledger was told that this recovery is open, and never that it is over."""
    stopped: list[str] = field(default_factory=list)
    """Services that it stopped and that do not run."""

    @property
    def over(self) -> bool:
        """Tell whether nothing is left but what was kept aside on purpose."""
        return not (self.containers or self.volumes or self.flagged) and self.exchanged

    @property
    def sentence(self) -> str:
        """Return what is there and what can be done about it."""
        found = [*self.containers, *(f"volume {name}" for name in self.volumes)]
        said = [f"{', '.join(found)} (dr discard {self.recovery_id} removes them)"] if found else []
        if self.kept and self.exchanged:
            said.append(f"old data kept in {', '.join(self.kept)} until dr release {self.recovery_id}")
        elif self.kept:
            said.append(f"an exchange with {', '.join(self.kept)} begun and not recorded: look at it by hand")
        if self.flagged:
            said.append(
                "it was never closed: unless its run is open, it ended in the middle;"
                f" dr reopen goes on with it, and dr discard {self.recovery_id} undoes what it changed"
            )
        if self.stopped:
            said.append(f"it stopped {', '.join(self.stopped)}, which do not run")
        return f"recovery {self.recovery_id}: {'; '.join(said)}"


def leftovers(engine: Engine, state: Path, target: Target, *, but: str = "") -> list[Leftover]:
    """Return what every recovery of a stack left here, except the one named by ``but``; looks only."""
    found: dict[str, Leftover] = {}

    def of(recovery_id: str) -> Leftover:
        return found.setdefault(recovery_id, Leftover(recovery_id))

    mine = f"{LABEL_STACK}={target.stack}"
    held: set[str] = set()
    for container in engine.labelled(LABEL_RECOVERY, mine):
        if not is_part(container.labels[LABEL_RECOVERY]):
            continue  # a label that anybody wrote; no recovery has such an id
        one = of(container.labels[LABEL_RECOVERY])
        if container.labels.get(LABEL_ROLE) == _KEEPER:
            held |= {str(mount.get("Name")) for mount in container.raw["Mounts"]}
        else:
            one.containers.append(f"container {container.name} ({container.status})")
    for volume in engine.volumes(LABEL_RECOVERY, mine):
        if not is_part(volume["Labels"][LABEL_RECOVERY]):
            continue
        one, name = of(volume["Labels"][LABEL_RECOVERY]), str(volume["Name"])
        (one.kept if name in held else one.volumes).append(name)
    flag = LedgerFiles(state, target.stack).recovery_open
    if flag.is_file():
        of(flag.read_text().strip()).flagged = True
    for one in found.values():
        _read_records(engine, Records(state), one)
    return sorted((one for one in found.values() if one.recovery_id != but), key=lambda one: one.recovery_id)


def _read_records(engine: Engine, records: Records, one: Leftover) -> None:
    exchange = records.read(swap.KIND, one.recovery_id) if one.kept else None
    one.exchanged = exchange is None or "kept_bytes" in exchange
    if not one.flagged:
        return
    for name, entry in (records.read(_SERVICES, one.recovery_id) or {}).items():
        container = engine.look(str(entry["container"]))
        if container is None or not container.running:
            one.stopped.append(name)
