"""The choice of the backup to restore: the newest one that is whole today."""

from datetime import datetime
from pathlib import Path

from temporalio import activity

from activities.catalogue import data_directory, read_catalogue
from activities.engine import Engine
from activities.postgres import manifest, shelf
from activities.postgres.slots import recorded_slot
from activities.postgres.unreadable import CODE as UNREADABLE
from activities.pulse import beat
from activities.room import free_bytes
from activities.taken import vanished
from domain.backups import Backup, BackupChoice, ChooseOrder, PassedOver, spoken_bytes
from domain.choice import needed_bytes, predicted_seconds, short_image, suspiciously_small, why_unfit
from domain.errors import Refused
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, container_name
from domain.order import Target
from domain.wal import Archive, Chain, follow_chain, timeline_of

_ROLE = "verify-backup"


class Choosing:
    """Chooses among the backups of a shelf; a bad one is passed over and named, never raised."""

    def __init__(self, engine: Engine, state: Path, tools_image: str | None = None) -> None:
        """Act through ``engine``; ``state`` is DR_STATE; ``tools_image`` must be there for the swap."""
        self._engine = engine
        self._state = state
        self._tools_image = tools_image

    @activity.defn(no_thread_cancel_exception=True)
    def choose_backup(self, order: ChooseOrder) -> BackupChoice:
        """Return the newest backup that is fit, whole today and followed by all its WAL.

        Without one, or without image or room, ``backup`` is ``None`` and ``missing`` says what is
        missing and how to get it.
        """
        where, server = Path(order.target.shelf), order.target.postgres
        entries, strangers = read_catalogue(where)
        image = self._engine.image(server.image_id)
        if image is None:
            return _none(
                strangers, f"The server's image {short_image(server.image_id)} is not on this host: load it."
            )
        if self._tools_image is not None and not (
            self._tools_image and self._engine.image(self._tools_image)
        ):
            return _none(
                strangers,
                "The tools image is not on this host, and nothing is pulled in a recovery: build it by"
                " `python -m infra.images` or load it, then start the worker again and retry.",
            )
        major = _major(image["Config"].get("Env") or [])
        present = {*(entry.id for entry in entries), *(stranger.id for stranger in strangers)}
        passed = [*vanished(self._state, order.target.stack, present), *strangers]
        small = {backup.id: reason for backup in entries if (reason := suspiciously_small(backup, entries))}
        # A small one is refused for any other that can be used; as the only one it is taken, and named.
        for backup in sorted(entries, key=lambda entry: entry.id in small):
            beat(f"judging {backup.id}")
            received = shelf.read_received(
                where, backup.wal_segment_bytes, server.uid, backup.system_identifier
            )
            chain = chain_after(order, backup, received.archive)
            reason = why_unfit(backup, order, major=major) or chain.problem or self._damage(order, backup)
            if reason:
                passed.append(PassedOver(id=backup.id, reason=reason))
                continue
            passed += [PassedOver(id=name, reason=why) for name, why in small.items() if name != backup.id]
            return _chosen(order, backup, chain, received.newest_at, passed, small.get(backup.id, ""))
        return _none(
            passed,
            f"No backup on {where} can be used ({len(passed)} passed over): bring one to the shelf,"
            " or take one by `dr backup now` while the server answers.",
            none_usable=True,
        )

    def _damage(self, order: ChooseOrder, backup: Backup) -> str:
        target = order.target
        what = f"check-{backup.id}"
        name = container_name(order.recovery_id or target.stack, what)
        labels = {LABEL_RECOVERY: order.recovery_id, LABEL_STACK: target.stack, LABEL_ROLE: _ROLE}
        try:
            return manifest.what_is_wrong(self._engine, target, backup, name=name, labels=labels)
        except Refused as refused:
            if refused.code != UNREADABLE:
                raise
            return f"{refused.what}: {refused.hint}"


def chain_after(order: ChooseOrder, backup: Backup, archive: Archive) -> Chain:
    """Follow the WAL of the archive together with the segments that the backup brings itself."""
    where = Path(order.target.shelf)
    own = manifest.own_segments(data_directory(where, backup.id), backup.wal_segment_bytes)
    return follow_chain(
        Archive({*archive.closed, *own}, set(archive.partial) - own, archive.histories),
        start=backup.start_segment,
        stop_lsn=backup.stop_lsn,
        timeline=order.timeline or _live_timeline(where) or backup.timeline,
        segment_bytes=backup.wal_segment_bytes,
    )


def _live_timeline(where: Path) -> int | None:
    """Return the timeline that the receiver in use wrote last; leftovers of others do not count."""
    recorded = recorded_slot(where / "postgres")
    if recorded is None:
        return None
    names = (where / shelf.WAL / recorded["slot"]).glob("[0-9A-F]" * 24 + "*")
    return max((timeline_of(path.name) for path in names), default=None)


def _chosen(
    order: ChooseOrder,
    backup: Backup,
    chain: Chain,
    wal_until: datetime | None,
    passed: list[PassedOver],
    doubt: str,
) -> BackupChoice:
    wal_bytes = chain.segments * backup.wal_segment_bytes
    needed, room = needed_bytes(backup, wal_bytes), _room(order.target)
    seconds = predicted_seconds(backup, wal_bytes)
    missing = ""
    if room is not None and room < needed:
        missing = (
            f"No room for a restored copy on {order.target.postgres.volumes_root}:"
            f" {spoken_bytes(needed)} needed, {spoken_bytes(room)} free. Make room and retry."
        )
    sentence = (
        f"Backup {backup.id} ({backup.verified}), WAL whole to {chain.last};"
        f" {len(passed)} passed over; about {seconds:.0f} s to restore and replay."
        + (f" No other can be used, though {doubt}." if doubt else "")
    )
    return BackupChoice(
        sentence=missing or sentence,
        backup=None if missing else backup,
        passed_over=tuple(passed),
        missing=missing,
        last_wal_segment=chain.last,
        wal_until=wal_until,
        predicted_seconds=seconds,
        room_bytes=room,
        needed_bytes=needed,
    )


def _none(passed: list[PassedOver], missing: str, *, none_usable: bool = False) -> BackupChoice:
    return BackupChoice(
        sentence=missing,
        backup=None,
        passed_over=tuple(passed),
        missing=missing,
        none_usable=none_usable,
    )


def _room(target: Target) -> int | None:
    try:
        return free_bytes(target.postgres.volumes_root)
    except OSError:
        return None


def _major(environment: list[str]) -> str:
    found = (entry.partition("=") for entry in environment)
    return next((value for key, _, value in found if key == "PG_MAJOR"), "")
