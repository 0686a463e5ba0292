"""The choice among the base backups off-site, for a recovery whose shelf holds none that can be used."""

from collections.abc import Iterator
from datetime import datetime

from temporalio import activity

from activities.bucket import Bucket
from activities.offsite_list import read_manifest
from activities.offsite_side import FarSide
from activities.pulse import beat
from domain.backups import Backup, ChooseOrder, PassedOver, spoken_bytes
from domain.choice import why_unfit
from domain.errors import BackupUnusable, Refused
from domain.far_choice import OF_ONE_COPY, FarChoice, FarChooseOrder
from domain.offsite_copies import MANIFEST, SEALED, WAL, FarEntry, place_of
from domain.wal import is_segment

_POSTGRES = "postgres"
_BASE = "base"
_NAMED = 50


class OffsiteChoosing:
    """Reads the far catalogue; changes nothing, neither there nor here."""

    def __init__(self, side: FarSide) -> None:
        """Reach the bucket through ``side``."""
        self._side = side

    @activity.defn(no_thread_cancel_exception=True)
    def choose_offsite(self, order: FarChooseOrder) -> FarChoice:
        """Return the newest whole far copy of a base backup that could be this server's.

        Without one, or without credentials or key, ``entry_id`` is empty and ``missing`` says what is
        missing: whoever asks is about to tell people. Raises ``Unavailable``.
        """
        passed: list[PassedOver] = []
        try:
            bucket = self._side.bucket(order)
            for entry in _newest_first(bucket, order):
                beat(f"judging {entry.id} off-site")
                backup = self._judged(bucket, order, entry, passed)
                if backup is not None:
                    return _chosen(bucket, order, backup, passed)
        except Refused as error:
            return _none(passed, f"The off-site store cannot be used: {error}")
        there = f"{order.policy.bucket}/{order.policy.root(order.target.stack)}"
        first = f"; of {passed[0].id}: {passed[0].reason}" if passed else ""
        return _none(
            passed,
            f"No base backup off-site can be used ({len(passed)} passed over at {there}{first}):"
            " 'dr offsite list' shows what is there.",
        )

    def _judged(
        self, bucket: Bucket, order: FarChooseOrder, entry: FarEntry, passed: list[PassedOver]
    ) -> Backup | None:
        tried = next((one.reason for one in order.excluded if one.id == entry.id), None)
        reason = f"tried already in this recovery: {tried}" if tried is not None else ""
        if not reason:
            try:
                manifest = read_manifest(order, bucket, self._side.keys.find, entry)
                backup = Backup.model_validate_json(manifest.entry)
            except (BackupUnusable, Refused) as error:
                if isinstance(error, Refused) and error.code not in OF_ONE_COPY:
                    raise
                reason = f"its far copy cannot be used: {error.what}"
            except ValueError:
                reason = "its far copy cannot be used: its entry is broken"
            else:
                reason = why_unfit(backup, _as_shelf_order(order))
                if not reason:
                    return backup
        if len(passed) < _NAMED:
            passed.append(PassedOver(id=entry.id, reason=reason))
        return None


def _newest_first(bucket: Bucket, order: FarChooseOrder) -> Iterator[FarEntry]:
    """Yield the whole base backups by their ids, which begin with their time."""
    root = order.policy.root(order.target.stack)
    wanted = f"{MANIFEST}{SEALED}" if order.policy.encrypt else f"{MANIFEST}.json"
    found = []
    for far in bucket.listed(f"{root}{_POSTGRES}/{_BASE}/"):
        place = place_of(far.key, root)
        if place is not None and place[3] == wanted:
            found.append(place[2])
    for entry_id in sorted(found, reverse=True):
        yield FarEntry(id=entry_id, store=_POSTGRES, kind=_BASE, bytes=0, objects=0, finished=True)


def _as_shelf_order(order: FarChooseOrder) -> ChooseOrder:
    return ChooseOrder(target=order.target, before=order.before, system_identifier=order.system_identifier)


def _chosen(bucket: Bucket, order: FarChooseOrder, backup: Backup, passed: list[PassedOver]) -> FarChoice:
    newest, until = _end_of_archive(bucket, order, backup)
    ends = f"the far archive ends with {newest}, copied at {until:%Y-%m-%d %H:%M:%SZ}" if until else ""
    ends = ends or "there is no WAL behind it off-site"
    return FarChoice(
        sentence=f"Backup {backup.id} off-site, ended {backup.ended_at:%Y-%m-%d %H:%M:%SZ},"
        f" {spoken_bytes(backup.bytes)}; {ends}; {len(passed)} passed over",
        entry_id=backup.id,
        ended_at=backup.ended_at,
        bytes=backup.bytes,
        passed_over=tuple(passed),
        newest_segment=newest,
        wal_until=until,
    )


def _end_of_archive(bucket: Bucket, order: FarChooseOrder, backup: Backup) -> tuple[str, datetime | None]:
    """Return the newest segment from the backup's start on, and when it came there."""
    root = order.policy.root(order.target.stack)
    newest, until = "", None
    for far in bucket.listed(f"{root}{_POSTGRES}/{WAL}/"):
        name = far.key.rsplit("/", 1)[-1].removesuffix(SEALED)
        if is_segment(name) and name[8:] >= backup.start_segment[8:] and name > newest:
            newest, until = name, far.modified
    return newest, until


def _none(passed: list[PassedOver], missing: str) -> FarChoice:
    return FarChoice(sentence=missing, passed_over=tuple(passed), missing=missing)
