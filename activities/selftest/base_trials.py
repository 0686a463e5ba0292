"""M7, M14 and M15: base backups whose files, age or origin are not what they are said to be."""

from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from activities import catalogue, entries
from activities.postgres import manifest
from activities.postgres.choose import Choosing
from activities.postgres.dump_jobs import what_is_wrong
from activities.selftest.damage import Damages
from activities.selftest.dump_trials import FULL_READ
from activities.selftest.good import Good
from activities.selftest.stage import Stage
from activities.selftest.trial import Answer, Check, Damage, Trials, by_error, by_text, together
from domain.backups import Backup, ChooseOrder
from domain.choice import major_version
from domain.entries import ENTRY, Entry, place_of
from domain.order import Target

MANIFEST = "pg_verifybackup and the recorded manifest"
CATALOGUE = "the catalogue"
CHOICE = "the choice of a backup"
_LATER = timedelta(days=30)
_FOREIGN = "7000000000000000001"


class BaseTrials:
    """Tries the checks of base backups."""

    def __init__(self, stage: Stage, good: Good, damages: Damages, trials: Trials) -> None:
        """Note everything in ``trials``."""
        self._stage = stage
        self._good = good
        self._damages = damages
        self._trials = trials

    def run(self) -> None:
        """Damage the stage's own backup, and a copy of the newest real one."""
        good = self._good
        self._files(good.target, good.base, "the stage's base backup")
        if good.real_base is not None:
            self._files(good.real_target, good.real_base, f"a copy of {good.real_base.id}")
        self._old_base(good.target, good.base)
        self._old_dump(good.target, good.dump)
        self._origin()

    def _files(self, target: Target, backup: Backup, named: str) -> None:
        ask, damages = self._verified(target, backup), self._damages
        self._trials.control("Q1", named, MANIFEST, ask)
        data = Path(target.shelf) / backup.path
        victim = max((data / "base").rglob("*"), key=lambda path: path.lstat().st_size)
        whole = data / "backup_manifest"
        made: list[tuple[str, Damage]] = [
            ("a data file has another byte", damages.flipped(victim)),
            ("a data file is gone", damages.gone(victim)),
            ("backup_label is gone", damages.gone(data / "backup_label")),
            ("backup_label's entry was taken out of the manifest", damages.altered(whole, _without_label)),
        ]
        for what, damage in made:
            self._trials.mutant("M7", f"{named}: {what}", damage, MANIFEST, ask)
        self._agreeing(target, backup, named)

    def _agreeing(self, target: Target, backup: Backup, named: str) -> None:
        """Alter a file and the manifest with it, so that pg_verifybackup has nothing to say."""
        data = Path(target.shelf) / backup.path
        victim = data / "PG_VERSION"
        text = victim.read_bytes()
        changed = text.rstrip(b"\n")[:-1] + b"x\n" if len(text) > 1 else b"x"
        name = f"dr-{self._stage.stack}-naive"

        def look() -> str:
            said = manifest.verify_manifest(
                self._stage.engine, target, data, name=name, labels=self._stage.labels
            )
            return f"PG_VERSION is {changed!r}, and pg_verifybackup finds nothing wrong" if not said else ""

        damage = together(
            self._damages.altered(victim, lambda _: changed),
            self._damages.altered(
                data / "backup_manifest", lambda whole: _agreed(whole, "PG_VERSION", text, changed)
            ),
            seen=look,
        )
        what = f"{named}: a file was altered, and the manifest made to agree"
        self._trials.mutant("M7", what, damage, MANIFEST, self._verified(target, backup))

    def _old_base(self, target: Target, backup: Backup) -> None:
        """Present an old backup as one of next month: by its name, and by an entry that says so."""
        shelf = Path(target.shelf)
        later = _renamed(backup)
        home, new = shelf / catalogue.BASE / backup.id, shelf / catalogue.BASE / later.id
        self._trials.mutant(
            "M14",
            "an old base backup under the name of a new one",
            self._damages.moved(home, new),
            CATALOGUE,
            lambda: by_error(lambda: catalogue.find_backup(shelf, later.id), "backup-unknown"),
        )
        self._trials.mutant(
            "M14",
            "an old base backup whose entry says that it is new",
            together(
                self._damages.moved(home, new),
                self._damages.instead(new / ENTRY, later.model_dump_json().encode()),
            ),
            MANIFEST,
            self._verified(target, later),
        )

    def _old_dump(self, target: Target, entry: Entry) -> None:
        shelf = Path(target.shelf)
        new_id = f"{entry.ended_at + _LATER:%Y%m%dT%H%M%SZ}-{entry.kind}"
        later = entry.model_copy(
            update={
                "id": new_id,
                "path": place_of(entry.store, entry.kind, new_id),
                "started_at": entry.started_at + _LATER,
                "ended_at": entry.ended_at + _LATER,
            }
        )
        home, new = entries.directory_of(shelf, entry), entries.directory_of(shelf, later)
        self._trials.mutant(
            "M14",
            "an old dump under the name of a new one",
            self._damages.moved(home, new),
            CATALOGUE,
            lambda: by_error(lambda: entries.find_entry(shelf, new_id), "backup-unknown"),
        )
        self._trials.mutant(
            "M14",
            "an old dump whose entry says that it is new",
            together(
                self._damages.moved(home, new),
                self._damages.instead(new / ENTRY, later.model_dump_json().encode()),
            ),
            FULL_READ,
            lambda: by_text(what_is_wrong(self._stage.engine, target, new, later)),
        )

    def _origin(self) -> None:
        """Offer a backup of another version, and one of another cluster, to the choice."""
        good, backup = self._good, self._good.base
        home = Path(good.target.shelf) / catalogue.BASE / backup.id
        entry = home / ENTRY
        major = int(major_version(backup.server_version))
        other = backup.model_copy(update={"server_version": f"{major - 1}.1"})
        foreign = backup.model_copy(update={"system_identifier": _FOREIGN})
        self._trials.control("Q1", "the stage's base backup", CHOICE, chosen(self._stage, good, ""))
        for what, wrong, because in (
            ("a backup of the version before", other, "of PostgreSQL"),
            ("a backup of another cluster", foreign, "another database system"),
        ):
            damage = self._damages.instead(entry, wrong.model_dump_json().encode())
            self._trials.mutant("M15", what, damage, CHOICE, chosen(self._stage, good, because))
        control = home / catalogue.DATA / "global" / "pg_control"
        stranger = int(_FOREIGN).to_bytes(8, "little")
        damage = self._damages.altered(control, lambda whole: stranger + whole[8:])
        ask = self._verified(self._good.target, backup)
        self._trials.mutant("M15", "the control file of another cluster in a backup", damage, MANIFEST, ask)
        version = self._damages.instead(home / catalogue.DATA / "PG_VERSION", f"{major - 1}\n".encode())
        self._trials.mutant("M15", "PG_VERSION of the version before", version, MANIFEST, ask)

    def _verified(self, target: Target, backup: Backup) -> Check:
        name = f"dr-{self._stage.stack}-verify"
        return lambda: by_text(
            manifest.what_is_wrong(self._stage.engine, target, backup, name=name, labels=self._stage.labels)
        )


def chosen(stage: Stage, good: Good, because: str, *, timeline: int | None = None) -> Check:
    """Return the choice among the stage's backups: red when none is taken, and for this reason."""
    choosing = Choosing(stage.engine, stage.state)

    def ask() -> Answer:
        order = ChooseOrder(
            target=good.target, system_identifier=good.base.system_identifier, timeline=timeline
        )
        choice = choosing.choose_backup(order)
        if choice.backup is not None:
            return Answer(red=False, evidence=choice.sentence)
        said = "; ".join(f"{one.id}: {one.reason}" for one in choice.passed_over) or choice.missing
        return Answer(red=because in said, evidence=said, made=because in said)

    return ask


def _renamed(backup: Backup) -> Backup:
    new_id = f"{backup.ended_at + _LATER:%Y%m%dT%H%M%SZ}-base"
    return backup.model_copy(
        update={
            "id": new_id,
            "path": str(catalogue.BASE / new_id / catalogue.DATA),
            "started_at": backup.started_at + _LATER,
            "ended_at": backup.ended_at + _LATER,
        }
    )


def _without_label(whole: bytes) -> bytes:
    """Return a manifest in which a file is no longer listed, with a checksum that agrees."""
    lines = whole.splitlines(keepends=True)
    kept = [line for line in lines if b'"backup_label"' not in line]
    return _sealed(b"".join(kept))


def _agreed(whole: bytes, name: str, before: bytes, now: bytes) -> bytes:
    """Return a manifest that lists a file as it is now, with a checksum that agrees."""
    lines = [line for line in whole.splitlines() if f'"Path": "{name}"'.encode() in line]
    listed = b"".join(lines[:1])
    changed = listed.replace(sha256(before).hexdigest().encode(), sha256(now).hexdigest().encode())
    changed = changed.replace(b'"Size": %d' % len(before), b'"Size": %d' % len(now))
    return _sealed(whole.replace(listed, changed))


def _sealed(whole: bytes) -> bytes:
    begin = whole.index(b'"Manifest-Checksum"')
    said = b'"Manifest-Checksum": "' + sha256(whole[:begin]).hexdigest().encode() + b'"}\n'
    return whole[:begin] + said
