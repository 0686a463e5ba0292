"""Replication slots of others: they lie in the data kept aside, and no base backup brings them back."""

from pathlib import Path

from activities import plain_files
from activities.engine import Engine
from activities.postgres.one_shot import below
from activities.postgres.slots import OURS, SLOT_NAME, known_slots
from activities.postgres.sql import Connection
from domain.names import LABEL_RECOVERY, LABEL_STACK
from domain.order import Target
from domain.recovery import Proof

_PASSING = "pg_basebackup_"
"""Begins slots that live as long as one connection."""


def check_slots_left(engine: Engine, target: Target, recovery_id: str, connection: Connection) -> list[Proof]:
    """Name the slots of others that the data kept aside has and the server has not; nothing without any.

    Whoever reads from one (a standby, a consumer of changes) has to begin anew.
    """
    if not recovery_id:
        return []
    server = target.postgres
    there = known_slots(connection)
    lost: list[str] = []
    for volume in engine.volumes(f"{LABEL_RECOVERY}={recovery_id}", f"{LABEL_STACK}={target.stack}"):
        directory = Path(below(server, f"{server.volumes_root}/{volume['Name']}/_data")) / "pg_replslot"
        names = (name for name in plain_files.names_at(directory) if SLOT_NAME.fullmatch(name))
        lost += [name for name in names if not name.startswith((OURS, _PASSING)) and name not in there]
    if not lost:
        return []
    said = f"{len(lost)} of others did not come back: {', '.join(lost[:5])}; what reads from them begins anew"
    return [Proof(name="replication slots", passed=None, evidence=said)]
