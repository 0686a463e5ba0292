"""M16, M23 and M24: what is sealed, what is told, and what is written down of decisions."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from activities.audit import Audit
from activities.backup_keys import BackupKeys
from activities.report_page.render import as_html, as_json, as_markdown, as_yaml
from activities.sealing import FindKey, open_file, seal_file
from activities.secret_scan import found_in, proof_of, scan_files
from activities.selftest.damage import Damages
from activities.selftest.trial import Answer, Check, Trials, by_error, by_proofs, together
from domain.recovery import Proof
from domain.report import Report

SEAL = "sealed files opened with their key"
SCAN = "search for secrets"
AUDIT = "chain of the audit file"
_CONTEXT = "postgres/daily/specimen"
_PLAIN = b"what a backup holds " * 20_000
_WRONG = ("backup-key-wrong", "backup-key-missing", "not-sealed", "seal-broken")
_SAID = "the backup was taken"


class RecordTrials:
    """Tries the checks of what lies in DR_STATE and off-site, on files made for it."""

    def __init__(self, directory: Path, trials: Trials) -> None:
        """``directory`` is one of its own, which is removed afterwards."""
        self._directory = directory
        self._damages = Damages(directory / "aside")
        self._trials = trials

    def run(self) -> None:
        """Try keys, the search for secrets, and the audit file."""
        self._sealing()
        self._leaking()
        self._audited()

    def _sealing(self) -> None:
        keys, other = BackupKeys(self._directory / "mine"), BackupKeys(self._directory / "theirs")
        now = datetime.now(UTC)
        key = keys.find(keys.new(now).id)
        stranger = other.find(other.new(now).id)
        plain, sealed = self._directory / "plain", self._directory / "sealed"
        plain.write_bytes(_PLAIN)
        seal_file(plain, sealed, key, _CONTEXT)
        open_ = partial(self._opened, sealed)
        self._trials.control("Q1", "a sealed file and its key", SEAL, open_(keys.find))
        key_file = keys.directory / f"{key.id}.key"
        for what, damage, find in (
            ("another key than it was sealed with", _seen(f"it has {stranger.id}"), lambda _: stranger),
            ("the key is not on this host", self._damages.gone(key_file), keys.find),
            (
                "the file of the key holds another key",
                self._damages.instead(key_file, (other.directory / f"{stranger.id}.key").read_bytes()),
                keys.find,
            ),
            ("what should be sealed is in clear", self._damages.instead(sealed, _PLAIN), keys.find),
            ("one byte of a sealed file is another one", self._damages.flipped(sealed), keys.find),
            ("a sealed file is cut off", self._damages.cut(sealed, sealed.lstat().st_size // 2), keys.find),
        ):
            self._trials.mutant("M16", what, damage, SEAL, open_(find))

    def _opened(self, sealed: Path, find: FindKey) -> Check:
        """Return the opening of a sealed file, which must give back what was sealed."""
        to = self._directory / "opened"

        def ask() -> Answer:
            try:
                answer = by_error(lambda: open_file(sealed, to, find, _CONTEXT), *_WRONG)
                if not answer.red and to.read_bytes() != _PLAIN:
                    return Answer(red=False, evidence="it opened to something else", made=False)
                return answer
            finally:
                to.unlink(missing_ok=True)

        return ask

    def _leaking(self) -> None:
        """Put a secret of our own where one could get to: a report, a log, the result of a hand."""
        core = secrets.token_hex(8)
        canary = f"S3cret&<{core}\"'>"
        hidden = {"canary": canary}
        root = self._directory / "told"
        root.mkdir()
        report = _report(f"{_SAID} with {canary}")
        told = {
            "report.json": as_json(report),
            "report.html": as_html(report),
            "report.md": as_markdown(report),
            "report.yaml": as_yaml(report),
            "worker.log": f"{_SAID} with {canary}\n",
        }
        for name in told:
            (root / name).write_text(_SAID)
        files = partial(self._scanned, root, hidden)
        self._trials.control("Q1", "files without a secret", SCAN, files)
        for name, content in told.items():
            damage = together(
                self._damages.instead(root / name, content.encode()),
                seen=partial(_core_in, root / name, core),
            )
            self._trials.mutant("M23", f"a secret in {name}", damage, SCAN, files)
        self._trials.control("Q1", "a result without a secret", SCAN, _in_history(_SAID, hidden))
        what = "a secret in the result of an activity"
        size = len(_event(canary))
        seen = _seen(f"an event of {size} bytes was given the secret")
        self._trials.mutant("M23", what, seen, SCAN, _in_history(f"{_SAID} with {canary}", hidden))

    def _scanned(self, root: Path, hidden: Mapping[str, str]) -> Answer:
        return by_proofs([proof_of([scan_files(root, hidden)], hidden)])

    def _audited(self) -> None:
        audit = Audit(self._directory / "audited")
        audit.append({"kind": "decision", "verb": "approve", "by": f"person {n}"} for n in range(6))

        def ask() -> Answer:
            return by_proofs([audit.proof()])

        self._trials.control("Q1", "the audit file", AUDIT, ask)
        forms: tuple[tuple[str, Callable[[list[bytes]], list[bytes]]], ...] = (
            ("a line is missing", lambda lines: lines[:2] + lines[3:]),
            ("the first line is missing", lambda lines: lines[1:]),
            ("the last line is missing", lambda lines: lines[:-1]),
            (
                "a line says another name",
                lambda lines: [one.replace(b"person 3", b"person 4") for one in lines],
            ),
            ("two lines changed places", lambda lines: [lines[1], lines[0], *lines[2:]]),
        )
        for what, change in forms:
            damage = self._damages.altered(audit.file, partial(_by_lines, change))
            self._trials.mutant("M24", what, damage, AUDIT, ask)


def _core_in(path: Path, core: str) -> str:
    """Look for the part of the secret that is spelled alike everywhere."""
    return f"{path.name} holds {core[:4]}…" if core in path.read_text() else ""


def _by_lines(change: Callable[[list[bytes]], list[bytes]], whole: bytes) -> bytes:
    return b"".join(change(whole.splitlines(keepends=True)))


def _event(said: str) -> bytes:
    """Return an activity's result as a history holds it."""
    event = HistoryEvent()
    data = Proof(name="said", passed=True, evidence=said).model_dump_json().encode()
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    event.activity_task_completed_event_attributes.result.payloads.append(payload)
    return event.SerializeToString()


def _in_history(said: str, hidden: Mapping[str, str]) -> Check:
    return lambda: by_proofs([proof_of([found_in("a history", [_event(said)], hidden)], hidden)])


def _report(said: str) -> Report:
    return Report(
        run_id="r",
        workflow_id="w",
        recovery_id="selftest",
        stack="selftest",
        scenario="DatabaseCorruption",
        mode="real",
        outcome="stood_down",
        rule=said,
        changed=(said,),
    )


@contextmanager
def _seen(said: str) -> Iterator[str]:
    yield said
