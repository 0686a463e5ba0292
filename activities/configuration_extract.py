"""Opens a backup of the configuration into a directory that somebody named."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from temporalio import activity

from activities import configuration_archive, plain_files
from activities.configuration_archive import Member
from activities.configuration_backup import KIND, STORE
from activities.sealed_entry import SealedEntries
from activities.tokens import Tokens
from domain.configuration import Extracted, ExtractOrder
from domain.errors import Refused
from domain.paths import host_path, one_part


class ConfigurationExtracting:
    """Writes what was sealed in clear: only where, and when, somebody asked for it."""

    def __init__(self, tokens: Tokens, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._tokens = tokens
        self._entries = SealedEntries(state, STORE, KIND)

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_configuration_extracted(self, order: ExtractOrder) -> Extracted:
        """Write a backup's files below a new or empty directory, which only its owner enters.

        It has its name when all of it is there. Raises ``Refused`` for a directory that holds something
        else, lies on the shelf or cannot be made, ``BackupUnusable``.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        to = Path(host_path(order.to, "the directory"))
        one_part(to.name, "the name of the directory")
        shelf = Path(target.shelf)
        if shelf == to or shelf in to.parents or to in shelf.parents:
            raise Refused("nothing is opened on the shelf", where=str(to), code="extract-place")
        entry = self._entries.named(target, order.entry_id)
        members = configuration_archive.unpack(self._entries.opened(target, entry))
        try:
            _write(members, to, entry.id)
        except OSError as error:
            raise Refused(
                f"it cannot be opened there: {error.strerror}",
                where=str(to),
                hint="name a directory that is not there yet, below one that is no link",
                code="extract-place",
            ) from None
        said = f"Configuration {entry.id} lies in clear in {to}: {len(members)} files. Remove it afterwards"
        return Extracted(directory=str(to), files=len(members), sentence=said)


def _write(members: Mapping[str, Member], to: Path, entry_id: str) -> None:
    with plain_files.directory(to.parent):
        pass  # refuses a link on the way
    partial = to.parent / f".{to.name}.{entry_id}.partial"
    if to.is_symlink() or partial.is_symlink():
        raise Refused("a symbolic link is not followed", where=str(to), code="extract-place")
    if _same(members, to):
        return
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Refused(
            "the directory is not empty", where=str(to), hint="name another one", code="extract-place"
        )
    if partial.exists():
        shutil.rmtree(partial)  # of an attempt that ended in the middle
    try:
        plain_files.own(partial, os.geteuid(), os.getegid())
        configuration_archive.write_out(members, partial)
        partial.rename(to)
    finally:
        if partial.exists():
            shutil.rmtree(partial)


def _same(members: Mapping[str, Member], to: Path) -> bool:
    """Tell whether an earlier attempt has written all of it."""
    if not to.is_dir():
        return False
    there = {
        str(Path(folder, name).relative_to(to))
        for folder, folders, files in os.walk(to)
        for name in (*files, *(one for one in folders if Path(folder, one).is_symlink()))
    }
    if there != set(members):
        return False
    return all(_is(to / name, member) for name, member in members.items())


def _is(path: Path, member: Member) -> bool:
    """Tell whether a path is what a member would be written as; no link is followed."""
    if path.is_symlink() or member.is_link:
        said = os.readlink(os.fsencode(path)) if path.is_symlink() else None  # noqa: PTH115 - as it is spelled
        return member.is_link and said == member.content
    try:
        return plain_files.read(path, len(member.content)) == member.content
    except OSError:
        return False
