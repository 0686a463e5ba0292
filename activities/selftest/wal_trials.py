"""M5 and M6: an archive of WAL that cannot be followed; and a backup across a switch, which can be."""

import struct
from pathlib import Path

from activities.selftest.base_trials import CHOICE, chosen
from activities.selftest.damage import Damages
from activities.selftest.good import Good
from activities.selftest.stage import Stage
from activities.selftest.trial import Check, Damage, Trials, together
from domain.errors import Refused
from domain.wal import format_lsn, is_segment, parse_lsn, position_of, segment_name

CHAIN = f"{CHOICE}: the chain of WAL"
_GAP = "its WAL is not whole"
_SYSTEM_AT = 24
_FOREIGN = 7_000_000_000_000_000_001
_LEAST = 3
_INTO = 0x200


class WalTrials:
    """Tries the check of the archive, as a recovery makes it before it takes a backup."""

    def __init__(self, stage: Stage, good: Good, damages: Damages, trials: Trials) -> None:
        """Note everything in ``trials``."""
        self._stage = stage
        self._good = good
        self._damages = damages
        self._trials = trials

    def run(self) -> None:
        """Damage the archive behind the backup, on its timeline and on a later one."""
        names = self._behind()
        before, middle = (self._good.wal / name for name in names[-_LEAST : -_LEAST + 2])
        self._trials.control(
            "Q5", "a base backup across a switch of the WAL", CHAIN, self._asked(""), state=self._across()
        )
        damages = self._damages
        made: list[tuple[str, str, Damage]] = [
            ("M5", "a segment behind the backup is missing", damages.gone(middle)),
            ("M6", "a segment is cut off", damages.cut(middle, middle.lstat().st_size // 2)),
            ("M6", "a segment of another cluster under the right name", damages.altered(middle, _foreign)),
            (
                "M6",
                "the segment before under the name of the next one",
                damages.instead(middle, before.read_bytes()),
            ),
        ]
        for mutant, what, damage in made:
            self._trials.mutant(mutant, what, damage, CHAIN, self._asked(_GAP))
        self._timelines(self._good.wal / names[-1])

    def _timelines(self, last: Path) -> None:
        """Have the archive go on on a second timeline, and take away what says where that begins."""
        size = self._good.base.wal_segment_bytes
        begins = position_of(last.name, size)
        younger = last.with_name(segment_name(2, begins, size))
        history = last.with_name("00000002.history")
        fits = f"1\t{format_lsn(begins + _INTO)}\tno recovery target specified\n".encode()
        start = parse_lsn(self._good.base.start_lsn)
        forked = f"1\t{format_lsn(start - _INTO)}\tno recovery target specified\n".encode()
        content = last.read_bytes()

        def second(said: bytes | None) -> Damage:
            files = [self._damages.added(younger, content)]
            files += [self._damages.added(history, said)] if said is not None else []
            return together(*files, seen=lambda: f"its history: {said.decode().strip() if said else 'none'}")

        self._trials.control(
            "Q5", "an archive on a later timeline", CHAIN, self._asked("", timeline=2), state=second(fits)
        )
        for what, said, because in (
            ("the history of the timeline is missing", None, "00000002.history is missing"),
            ("the timeline was left before the backup ended", forked, "after timeline 1 had been left"),
        ):
            self._trials.mutant("M6", what, second(said), CHAIN, self._asked(because, timeline=2))

    def _asked(self, because: str, timeline: int | None = None) -> Check:
        return chosen(self._stage, self._good, because, timeline=timeline)

    def _across(self) -> Damage:
        base = self._good.base
        first, last = (
            segment_name(base.timeline, parse_lsn(lsn), base.wal_segment_bytes)
            for lsn in (base.start_lsn, base.stop_lsn)
        )
        return together(seen=lambda: f"it began in {first} and ended in {last}" if first != last else "")

    def _behind(self) -> list[str]:
        """Return the closed segments behind the backup, at least so many that one has two neighbours."""
        base = self._good.base
        stop = segment_name(base.timeline, parse_lsn(base.stop_lsn), base.wal_segment_bytes)
        names = sorted(path.name for path in self._good.wal.iterdir() if is_segment(path.name))
        names = [name for name in names if name > stop]
        if len(names) < _LEAST:
            raise Refused(
                f"the stage's archive has {len(names)} segments behind its backup", code="selftest-wal"
            )
        return names


def _foreign(whole: bytes) -> bytes:
    return whole[:_SYSTEM_AT] + struct.pack("=Q", _FOREIGN) + whole[_SYSTEM_AT + 8 :]
