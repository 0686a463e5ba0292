"""M1 to M4: dumps that are damaged as files, and the untouched dump restored twice."""

from pathlib import Path

from activities import entries, stored
from activities.postgres.dump_jobs import what_is_wrong
from activities.postgres.restore_dump import DumpChecks
from activities.selftest.damage import Damages
from activities.selftest.good import Good
from activities.selftest.stage import Stage
from activities.selftest.trial import Answer, Check, Damage, Trials, by_judgement, by_text
from activities.tokens import Tokens
from domain.dumps import GLOBALS, EntryTargetOrder
from domain.entries import RECORD, Entry, files_sha256
from domain.order import Target

CHECKSUMS = "size and SHA-256 of every file"
FULL_READ = "pg_restore reads all of a dump"
RESTORE = "dump restored and compared"
_KEPT = 0.6
_BESIDE = {GLOBALS, RECORD}
_TWENTY = b"\x1f\x8b" + bytes(18)
_BEFORE, _AFTER = b"specimen 77 ", b"specimen 78 "


class DumpTrials:
    """Tries the checks of dumps."""

    def __init__(self, stage: Stage, good: Good, damages: Damages, trials: Trials) -> None:
        """Note everything in ``trials``."""
        self._stage = stage
        self._damages = damages
        self._trials = trials
        self._good = good
        parts = (stage.engine, stage.sql, Tokens(stage.state), stage.state)
        self.checks = DumpChecks(*parts)

    def run(self) -> None:
        """Damage the stage's own dumps, and a copy of the newest real one."""
        good = self._good
        self._files(good.target, good.dump, "the stage's dump")
        if good.real_dump is not None:
            self._files(good.real_target, good.real_dump, f"a copy of {good.real_dump.id}")
        self._uncompressed()
        for time in ("first", "second"):
            self._trials.control(
                "Q1", f"the stage's dump, restored for the {time} time", RESTORE, self.restored(good.dump)
            )

    def _files(self, target: Target, entry: Entry, named: str) -> None:
        directory = entries.directory_of(Path(target.shelf), entry)
        largest = max((f for f in entry.files if f.path not in _BESIDE), key=lambda file: file.bytes)
        victim = directory / largest.path
        asked = {CHECKSUMS: _checksums(directory, entry), FULL_READ: self._read(target, directory, entry)}
        for check, ask in asked.items():
            self._trials.control("Q1", named, check, ask)
        damages = self._damages
        made: list[tuple[str, str, Damage]] = [
            ("M1", f"{named}, cut at 60 %", damages.cut(victim, int(largest.bytes * _KEPT))),
            ("M2", f"{named}, empty", damages.cut(victim, 0)),
            ("M2", f"{named}, twenty bytes", damages.instead(victim, _TWENTY)),
            ("M3", f"{named}, one byte flipped", damages.flipped(victim)),
        ]
        for mutant, what, damage in made:
            self._trials.forms(mutant, what, damage, asked)

    def _uncompressed(self) -> None:
        """Change one word of a row: the file reads to its end, and where its record agrees only rows tell."""
        target, entry = self._good.target, self._good.plain
        directory = entries.directory_of(Path(target.shelf), entry)
        victim = max((f for f in entry.files if f.path not in _BESIDE), key=lambda file: file.bytes)
        asked = {
            CHECKSUMS: _checksums(directory, entry),
            RESTORE: self.restored(entry, agreeing=True),
        }
        self._trials.control("Q1", "the uncompressed dump", CHECKSUMS, asked[CHECKSUMS])
        damage = self._damages.altered(directory / victim.path, lambda whole: whole.replace(_BEFORE, _AFTER))
        self._trials.forms("M4", "a word in a row of an uncompressed dump is another one", damage, asked)

    def _read(self, target: Target, directory: Path, entry: Entry) -> Check:
        """Return the full read alone: its record is made to agree, as if the damage had been recorded."""
        return lambda: by_text(
            what_is_wrong(self._stage.engine, target, directory, resealed(directory, entry))
        )

    def restored(self, entry: Entry, *, agreeing: bool = False) -> Check:
        """Return the restore of one of the stage's dumps; ``agreeing`` makes its record fit its files."""

        def ask() -> Answer:
            order = EntryTargetOrder(target=self._good.target, entry_id=entry.id)
            if agreeing:
                _reseal(Path(self._good.target.shelf), entry)
            try:
                proven = self.checks.verify_restored(order)
            finally:
                entries.write_entry(entries.directory_of(Path(self._good.target.shelf), entry), entry)
            return by_judgement(proven.proofs, passed=proven.passed)

        return ask


def resealed(directory: Path, entry: Entry) -> Entry:
    """Return an entry that agrees with its files as they are now."""
    files = stored.stored_files(directory)
    facts = {"files": files, "sha256": files_sha256(files), "bytes": sum(file.bytes for file in files)}
    return entry.model_copy(update=facts)


def _reseal(shelf: Path, entry: Entry) -> None:
    directory = entries.directory_of(shelf, entry)
    entries.write_entry(directory, resealed(directory, entry))


def _checksums(directory: Path, entry: Entry) -> Check:
    return lambda: by_text(stored.what_differs(directory, entry.files))
