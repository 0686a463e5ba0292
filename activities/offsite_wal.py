"""Whether the WAL on the far side goes on from a base backup there: else what came after it is lost."""

from datetime import UTC, timedelta
from pathlib import Path

from pydantic import ValidationError

from activities.alone import alone
from activities.bucket import Bucket, FarObject
from activities.offsite_shelf import segments
from activities.offsite_side import FarSide
from activities.sealing import opened_chunks
from domain.backups import Backup
from domain.errors import BackupUnusable, Unavailable
from domain.offsite_copies import SEALED, WAL, FarManifest, OffsiteOrder, context_of, place_of
from domain.wal import (
    Archive,
    Chain,
    History,
    follow_chain,
    history_of,
    is_segment,
    parse_history,
    parse_lsn,
    segment_name,
    timeline_of,
)

_OWN = "data/pg_wal/"
_CLOCKS_APART = timedelta(hours=1)
"""A store refuses requests of a clock that is a quarter of an hour away."""
_HISTORY_LIMIT_BYTES = 1024 * 1024


class FarWal:
    """The archive of the far side, as far as it was stored since a base backup began.

    What is older is none of it: a segment behind the start is closed, and copied, after the backup began.
    """

    def __init__(self, side: FarSide, order: OffsiteOrder, bucket: Bucket, manifest: FarManifest) -> None:
        """Look at what there is. Raises ``BackupUnusable`` where the manifest is of no base backup."""
        self._side, self._order, self._bucket = side, order, bucket
        try:
            self._backup = Backup.model_validate_json(manifest.entry)
        except (ValidationError, ValueError):
            raise BackupUnusable(
                "its entry is none of a base backup", where=manifest.id, code="offsite-manifest"
            ) from None
        size = self._backup.wal_segment_bytes
        own = {one.path.removeprefix(_OWN): one.bytes for one in manifest.files if one.path.startswith(_OWN)}
        self._own = {name for name, length in own.items() if is_segment(name) and length == size}
        self._there: set[str] = set()
        self._histories: dict[int, FarObject] = {}
        root = order.policy.root(order.target.stack)
        for far in bucket.listed(f"{root}postgres/{WAL}/"):
            self._note(far, place_of(far.key, root))

    def problem(self) -> tuple[str, str]:
        """Return what is wrong, else nothing, and what was seen."""
        chain = self._followed()
        wrong, lost = chain.problem, set(chain.missing)
        stop = parse_lsn(self._backup.stop_lsn) - 1
        end = segment_name(self._backup.timeline, stop, self._backup.wal_segment_bytes)
        if chain.whole and end not in self._there and chain.last not in self._there:
            wrong, lost = f"none from the end of the backup on is there: {end} is missing", {end}
        if wrong and lost and self._on_its_way(lost):
            return "", f"a copying is at work, which brings {min(lost)}"
        return wrong, f"{chain.segments} WAL segments from {self._backup.start_segment} to {chain.last}"

    def _note(self, far: FarObject, place: tuple[str, str, str, str] | None) -> None:
        sealed = far.key.endswith(SEALED)
        if place is None or sealed != self._order.policy.encrypt:
            return
        name = place[3].removesuffix(SEALED)
        timeline = history_of(name)
        if timeline is not None:
            self._histories[timeline] = far
        began = self._backup.started_at.astimezone(UTC) - _CLOCKS_APART
        whole = far.bytes > 0 if sealed else far.bytes == self._backup.wal_segment_bytes
        late = far.modified is None or far.modified >= began
        if is_segment(name) and whole and late and name[8:] >= self._backup.start_segment[8:]:
            self._there.add(name)

    def _followed(self) -> Chain:
        """Follow the archive on the youngest timeline that comes from the backup's."""
        backup = self._backup
        later = {timeline_of(name) for name in self._there if timeline_of(name) > backup.timeline}
        timeline, histories = backup.timeline, dict[int, History]()
        for one in sorted(later, reverse=True):
            history = self._history(one)
            # Without its history nobody gets onto a timeline: that is what is wrong then.
            if history is None or backup.timeline in {ancestor for ancestor, _ in history}:
                timeline, histories = one, {} if history is None else {one: history}
                break
        return follow_chain(
            Archive(closed=self._there | self._own, histories=histories),
            start=backup.start_segment,
            stop_lsn=backup.stop_lsn,
            timeline=timeline,
            segment_bytes=backup.wal_segment_bytes,
        )

    def _history(self, timeline: int) -> History | None:
        far = self._histories.get(timeline)
        if far is None or far.bytes > _HISTORY_LIMIT_BYTES:
            return None
        blocks, stack = self._bucket.get(far.key), self._order.target.stack
        place = place_of(far.key, self._order.policy.root(stack))
        if self._order.policy.encrypt and place is not None:
            context = context_of(stack, "postgres", WAL, place[2], place[3].removesuffix(SEALED))
            blocks = opened_chunks(blocks, self._side.keys.find, context)
        try:
            return parse_history(b"".join(blocks).decode())
        except ValueError:
            return None

    def _on_its_way(self, names: set[str]) -> bool:
        """Tell whether a copying is at work now that will bring these segments: the shelf still has them."""
        stack = self._order.target.stack
        try:
            with alone(self._side.state, f"offsite-{stack}", wait_seconds=0):
                return False
        except Unavailable:
            return names <= {one.name for one in segments(Path(self._order.target.shelf))}
