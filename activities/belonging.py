"""Whose the backups of a shelf are: those of another stack are strangers, whatever they are good for.

Somebody may copy the shelf of another installation here, and two stacks may be told to use one shelf. A
backup says which stack it was taken of; one that does not say (older ones, rebuilt ones) is taken for ours.
"""

from collections.abc import Iterable

from domain.backups import PassedOver
from domain.choice import of_another_stack
from domain.entries import Entry
from domain.errors import Refused


def apart(entries: Iterable[Entry], stack: str) -> tuple[list[Entry], list[PassedOver]]:
    """Return the entries that may be of a stack, and those of others with whose they are."""
    ours, others = [], []
    for entry in entries:
        other = of_another_stack(entry.source.stack, stack)
        if other:
            others.append(PassedOver(id=entry.id, reason=other))
        else:
            ours.append(entry)
    return ours, others


def refuse_foreign(entry: Entry, stack: str) -> None:
    """Raise ``Refused`` (``backup-foreign``) for a backup of another stack, which is no data of this one."""
    other = of_another_stack(entry.source.stack, stack)
    if other:
        raise Refused(
            f"backup {entry.id} is not used: {other}",
            where=entry.path,
            hint="name one that 'dr backup list' shows as a backup of this stack",
            code="backup-foreign",
        )
