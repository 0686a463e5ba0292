"""Shows that a far copy can be brought back: fetched into a shelf of its own, compared, and removed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities import catalogue, entries, stored
from activities.alone import alone
from activities.offsite_fetch import OffsiteFetching
from activities.postgres import manifest
from activities.tokens import Tokens
from domain.dumps import RestoreProven
from domain.entries import BASE, Entry, bare
from domain.errors import BackupUnusable, DrError
from domain.paths import one_part
from domain.recovery import Proof
from domain.verification_far import ProveFarOrder

PLACE = "far-check"


class FarChecks:
    """Fetches far copies to see whether that can be done; the shelf itself is only read."""

    def __init__(self, fetching: OffsiteFetching, tokens: Tokens, state: Path) -> None:
        """``fetching`` is the hand that recoveries use; ``state`` is DR_STATE."""
        self._fetching = fetching
        self._tokens = tokens
        self._state = state

    @activity.defn(no_thread_cancel_exception=True)
    def verify_far_copy(self, order: ProveFarOrder) -> RestoreProven:
        """Fetch one copy, compare it with its record and with the shelf's own, and remove it again.

        Raises ``Unavailable`` when the far store does not answer, ``Refused`` (``backup-key-missing``,
        ``no-room``, …) and ``BackupUnusable`` for a copy that is not what left this host.
        """
        self._tokens.admit(order, order.target.stack)
        stack = one_part(order.target.stack, "the name of a stack")
        with alone(self._state, f"{PLACE}-{stack}"), self._shelf(stack) as apart:
            elsewhere = order.target.model_copy(update={"shelf": str(apart)})
            fetched = self._fetching.ensure_fetched(order.model_copy(update={"target": elsewhere}))
            entry = entries.find_entry(apart, fetched.id)
            proofs = (
                Proof(name="fetched", passed=True, evidence=fetched.sentence),
                _whole(apart, entry),
                _same(Path(order.target.shelf), entry),
            )
        passed = all(proof.passed is not False for proof in proofs)
        said = "came back as it left" if passed else "is not as it left"
        return RestoreProven(
            entry=bare(entry),
            passed=passed,
            proofs=proofs,
            sentence=f"The far copy of {entry.store} {entry.id} {said} at {datetime.now(UTC):%H:%M:%SZ}",
        )

    @contextmanager
    def _shelf(self, stack: str) -> Iterator[Path]:
        """Give out an empty shelf; what a dead attempt left there goes first, what this one made last."""
        place = self._state.resolve() / PLACE / stack
        _clear(place)
        place.mkdir(parents=True, mode=0o700)
        try:
            yield place
        finally:
            _clear(place)


def _clear(place: Path) -> None:
    if place.is_symlink():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)


def _whole(apart: Path, entry: Entry) -> Proof:
    """Compare what came back with the record that came with it."""
    if (entry.store, entry.kind) == ("postgres", BASE):
        try:
            digest = manifest.read_facts(catalogue.data_directory(apart, entry.id)).sha256
        except BackupUnusable as error:
            return Proof(name="whole", passed=False, evidence=error.what)
        same = digest == entry.sha256
        said = "its manifest is the one that was recorded" if same else "its manifest is another one"
        return Proof(name="whole", passed=same, evidence=said)
    wrong = stored.what_differs(entries.directory_of(apart, entry), entry.files)
    return Proof(name="whole", passed=not wrong, evidence=wrong or f"{len(entry.files)} files as recorded")


def _same(shelf: Path, far: Entry) -> Proof:
    """Compare with the entry that is still on the shelf; one that is gone there shows nothing."""
    try:
        here = entries.find_entry(shelf, far.id)
    except DrError:
        return Proof(name="as on the shelf", passed=None, evidence="the shelf no longer has it")
    same = (here.sha256, here.bytes, here.files) == (far.sha256, far.bytes, far.files)
    said = "the same list of files with the same checksums" if same else "the shelf has another one"
    return Proof(name="as on the shelf", passed=same, evidence=said)
