"""Whether the server still is the one whose backups are on the shelf."""

from pathlib import Path

from activities.catalogue import list_backups
from domain.choice import of_another_stack
from domain.diagnosis import Finding, Look, Witness
from domain.errors import Refused
from domain.order import Target


def look_at_identity(target: Target, system_identifier: str | None) -> list[Witness]:
    """Compare the database system with that of the newest backup; nothing where one of them is not known.

    An image that finds its volume empty initialises it, and a service that starts on it fills it with fresh
    tables: a server in which everything reads well, and which has lost all that it held.
    """
    try:
        backups = list_backups(Path(target.shelf))
    except Refused:
        return []
    ours = [one for one in backups if not of_another_stack(one.stack, target.stack)]
    known = ours[0].system_identifier if ours else ""
    if not known or not system_identifier:
        return []
    if known == system_identifier:
        said = f"database system {known}, as in the newest backup"
        return [Witness(name="identity", look=Look.IDENTITY, finding=Finding.SOUND, evidence=said)]
    said = (
        f"the server is database system {system_identifier}, the newest backup {ours[0].id} is of {known}:"
        " its data directory was made anew or replaced. Put the old one back and dr retry; or, where it was"
        " replaced on purpose, dr backup now and dr retry"
    )
    return [Witness(name="identity", look=Look.IDENTITY, finding=Finding.DAMAGED, evidence=said)]
