"""Shows that a stack could start from a backup of its configuration; names all that is missing (F-C18)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError
from temporalio import activity

from activities import configuration_archive, entries
from activities.configuration_archive import Member
from activities.configuration_backup import KIND, STORE, held_by, secrets_in
from activities.configuration_compose import Compose
from activities.configuration_read import environment_of, references_of
from activities.sealed_entry import SealedEntries
from activities.tokens import Tokens
from domain.backups import Level
from domain.configuration import (
    MANIFEST,
    OUTSIDE,
    STACK_FILE,
    Configuration,
    judge_environment,
    judge_images,
    judge_secrets,
    judge_services,
    no_lack,
)
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry, bare
from domain.errors import BackupUnusable, DrError
from domain.holdings import compare_holdings
from domain.order import Target
from domain.recovery import Proof
from domain.stack_file import parse_stack

PROVEN_BY = "opened, compared with its record and read by Compose"
_FILES = "files"


class ConfigurationProofs:
    """Opens backups of the configuration in memory to see whether a stack could start from them."""

    def __init__(self, tokens: Tokens, state: Path, compose: Compose) -> None:
        """``state`` is DR_STATE."""
        self._tokens = tokens
        self._entries = SealedEntries(state, STORE, KIND)
        self._compose = compose

    @activity.defn(no_thread_cancel_exception=True)
    def verify_configuration_restored(self, order: EntryTargetOrder) -> RestoreProven:
        """Open a backup, judge whether it is complete enough to start from, and record it.

        Raises ``BackupUnusable`` for a damaged one, after its level was taken away, and ``Refused`` when
        its key is missing or is another one.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        entry = self._entries.named(target, order.entry_id)
        packed = self._entries.opened(target, entry)
        try:
            members = configuration_archive.unpack(packed)
            kept = manifest_in(members)
        except BackupUnusable:
            self._record(target, entry, Level.NONE)
            raise
        proofs = self._judged(entry, members, kept)
        well = bool(proofs) and all(proof.passed for proof in proofs)
        if well or any(proof.passed is False for proof in proofs):
            entry = self._record(target, entry, Level.RESTORED if well else Level.NONE)
        return RestoreProven(entry=bare(entry), passed=well, proofs=proofs, sentence=_said(entry, proofs))

    def _record(self, target: Target, entry: Entry, level: Level) -> Entry:
        return entries.record_verified(Path(target.shelf), entry, level, datetime.now(UTC), PROVEN_BY)

    def _judged(self, entry: Entry, members: Mapping[str, Member], kept: Configuration) -> tuple[Proof, ...]:
        key = self._entries.keys.find(entry.key_id)
        gone = [f"{one.path} is missing" for one in kept.files if one.member not in members]
        outside = sum(one.member.startswith(f"{OUTSIDE}/") for one in kept.files)
        said = f"{len(kept.files)} files, {outside} of them from outside the project's directory"
        said += f"; left out: {'; '.join(kept.left_out)}" if kept.left_out else ""
        variables = {service.name: environment_of(members, service) for service in kept.services}
        return (
            *compare_holdings(entry.held, held_by(members, kept, key)),
            no_lack(_FILES, (*kept.lacks, *gone), said, seen=len(kept.files)),
            judge_environment(kept, variables),
            judge_images(kept),
            *_stack_file(members),
            *self._composed(entry, members, kept),
        )

    def _composed(
        self, entry: Entry, members: Mapping[str, Member], kept: Configuration
    ) -> tuple[Proof, ...]:
        """Have Compose read the unpacked files, as it would before it starts anything."""
        name = "Compose files"
        if not kept.compose:
            return (Proof(name=name, passed=False, evidence="there is none"),)
        try:
            found = self._compose.resolve(kept, members, f"dr-{kept.stack}-{entry.id}")
        except (DrError, OSError) as error:
            return (Proof(name=name, passed=None, evidence=str(error)),)
        if found is None:
            return (Proof(name=name, passed=None, evidence="Compose is not on this host"),)
        lacks = [f"the variable {one} is not set" for one in found.unset]
        lacks += [f"Compose refuses them: {found.problem}"] if found.problem else []
        said = f"{len(kept.compose)} resolve to {len(found.services)} services, every variable is set"
        return (no_lack(name, lacks, said, seen=len(found.services)), judge_services(kept, found.services))


def manifest_in(members: Mapping[str, Member]) -> Configuration:
    """Return what an archive says that it holds; ``BackupUnusable`` when it does not."""
    try:
        return Configuration.model_validate_json(members[MANIFEST].content)
    except (KeyError, ValidationError):
        raise BackupUnusable(
            f"its list {MANIFEST} is missing or broken", where=MANIFEST, code="archive-unusable"
        ) from None


def _stack_file(members: Mapping[str, Member]) -> tuple[Proof, ...]:
    """Judge the stack file, and the secrets that it names."""
    name = "stack file"
    if STACK_FILE not in members:
        return (Proof(name=name, passed=False, evidence="it is missing"),)
    try:
        stack, digest = parse_stack(members[STACK_FILE].content.decode(), STACK_FILE)
    except (DrError, UnicodeDecodeError) as error:
        return (Proof(name=name, passed=False, evidence=str(error)),)
    read = Proof(name=name, passed=True, evidence=f"it can be read: {digest[:16]}…")
    return (read, judge_secrets(references_of(stack), secrets_in(members)))


def _said(entry: Entry, proofs: tuple[Proof, ...]) -> str:
    unproven = [proof for proof in proofs if proof.passed is False]
    unproven = unproven or [proof for proof in proofs if proof.passed is None]
    if unproven:
        first = unproven[0]
        return f"Configuration {entry.id} is not proven: {first.name}: {first.evidence}"
    return f"Configuration {entry.id} was opened: the stack could start from it"
