"""Backups of what a stack needs beside its data: read in memory, sealed before it touches a disk."""

import json
from collections.abc import Mapping
from pathlib import Path

from temporalio import activity

from activities import configuration_archive, entries
from activities.configuration_archive import Member
from activities.configuration_read import Reading, environment_of
from activities.engine import Engine
from activities.sealed_entry import Content, SealedEntries
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.configuration import SECRETS, STACK_FILE, WHOLE, Configuration, group, vanished
from domain.entries import Source, bare
from domain.holdings import Holding
from domain.order import Target
from domain.sealing import BackupKey
from domain.store_backups import StoreBackupOrder, StoreBackups

STORE = "stack"
KIND = "configuration"
_NAMED = 3


class ConfigurationBackups:
    """Backs up the configuration and the secrets of a stack, always sealed."""

    def __init__(
        self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path, stacks: Mapping[str, Path]
    ) -> None:
        """Act through these clients; ``state`` is DR_STATE, ``stacks`` the stack files by their stacks."""
        self._reading = Reading(engine, secrets, stacks)
        self._tokens = tokens
        self._entries = SealedEntries(state, STORE, KIND)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_configuration_backup(self, order: StoreBackupOrder) -> StoreBackups:
        """Take the backup, or return the one that has this label.

        What should be in it and cannot be kept is named in its sentence, and fails its verification.
        Raises ``Refused`` (``backup-key-missing``) without a key, and while a recovery is open.
        """
        self._tokens.admit(order, order.target.stack)
        entry = self._entries.ensure(order, lambda key: self._content(order.target, key))
        return StoreBackups(entries=(bare(entry),), sentence=entry.sentence)

    def _content(self, target: Target, key: BackupKey) -> Content:
        members, kept = self._reading.read(target)
        said = f"{len(kept.services)} services, {len(kept.files)} files, {len(kept.references)} secrets"
        if kept.lacks:
            said += f"; NOT in it: {'; '.join(kept.lacks[:_NAMED])}"
        held = held_by(members, kept, key)
        gone = vanished(self._last_held(target), held)
        if gone:
            said += f"; no longer in it: {', '.join(gone[:_NAMED])}"
        return Content(
            plain=configuration_archive.pack(members),
            held=held,
            sentence=said,
            source=Source(stack=target.stack, version=kept.project),
        )

    def _last_held(self, target: Target) -> tuple[Holding, ...]:
        known = entries.read_entries(Path(target.shelf))[0]
        return next((one.held for one in known if (one.store, one.kind) == (STORE, KIND)), ())


def held_by(members: Mapping[str, Member], kept: Configuration, key: BackupKey) -> tuple[Holding, ...]:
    """Return what an archive holds: a group for each service, and one for what belongs to none."""

    def files(names: tuple[str, ...]) -> dict[str, bytes]:
        return {f"file {name}": members[name].content for name in names if name in members}

    groups = []
    for service in kept.services:
        things = files(service.files) | {"image": f"{service.image}@{service.image_id}".encode()}
        environment = environment_of(members, service)
        things |= {f"variable {name}": value.encode() for name, value in environment.items()}
        groups.append(group(key, service.name, things))
    mine = {name for service in kept.services for name in service.files}
    others = tuple(one.member for one in kept.files if one.member not in mine)
    things = files((*others, STACK_FILE))
    things |= {f"secret {name}": value.encode() for name, value in secrets_in(members).items()}
    return (group(key, WHOLE, things), *groups)


def secrets_in(members: Mapping[str, Member]) -> dict[str, str]:
    """Return the values of the secrets by their references."""
    try:
        found = json.loads(members[SECRETS].content) if SECRETS in members else {}
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}
