"""A night of BackupVerification on a real Temporal server, with hands that only answer."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.open_runs import OpenRecovery
from activities.people import TellOrder
from activities.verification import VerificationReports
from domain import names
from domain.backup_policy import BackupPolicy
from domain.backups import ShelfOrder
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry, EntryList, EntryOrder
from domain.errors import DrError, Refused
from domain.incident import Told
from domain.jobs import Job
from domain.offsite import OffsitePolicy
from domain.offsite_copies import FarEntry
from domain.offsite_look import ListFarOrder, OffsiteList
from domain.order import Facts, StackOrder, TargetOrder
from domain.recovery import Judged, Proof
from domain.stack import Kind, Service, Stack
from domain.verification import RecordVerificationOrder, VerificationReport
from domain.verification_base import ProveBaseOrder
from domain.verification_far import ProveFarOrder
from domain.verification_standing import Standing, Standings
from tests.domain.test_verification import entry, shelf
from tests.runbooks.conftest import STACK, TARGET, Hands
from worker.liveness import Liveness
from workflows.scheduled import JobRequest, Scheduled
from workflows.verification import BackupVerification

HOUR = timedelta(hours=1)
QUIET = {"stack": None, "meilisearch": None, "hasura": None, "redis": None, "minio": None}
OFFSITE = OffsitePolicy.model_validate({"bucket": "far-away", "access_key": "env:A", "secret_key": "env:B"})


class Night:
    """A stack with backups, and what the hands say of them."""

    def __init__(self, client: Client, state: Path) -> None:
        self.client = client
        self.state = state
        self.hands = Hands(state, client)
        self.now = datetime.now(UTC)
        self.stack = self.with_policy()
        self.entries = self.fresh()
        self.asked: list[str] = []
        self.orders: dict[str, Any] = {}
        self.told: list[TellOrder] = []
        self.opened = ""
        self.deaf = False
        self.standings = Standings()
        answers: dict[str, tuple[type[Any], Callable[[Any], Any]]] = {
            "observe_stack": (StackOrder, lambda _: self.facts()),
            "observe_entries": (ShelfOrder, lambda _: EntryList(entries=tuple(self.entries))),
            "observe_schedules": (StackOrder, lambda _: self.standings),
            "verify_archive": (TargetOrder, lambda _: Judged(passed=True, sentence="3 segments")),
            "verify_files": (EntryOrder, lambda order: self.named(order.entry_id)),
            "verify_restored": (EntryTargetOrder, self.restored),
            "verify_base_restored": (ProveBaseOrder, self.restored),
            "verify_redis_restored": (EntryTargetOrder, self.restored),
            "observe_offsite": (ListFarOrder, lambda _: self.far()),
            "verify_far_copy": (ProveFarOrder, self.restored),
            "ensure_verification_recorded": (
                RecordVerificationOrder,
                VerificationReports(state).ensure_verification_recorded,
            ),
        }
        self.hands.answers |= answers

    def with_policy(self, *kinds: Kind, **more: Any) -> Stack:
        services = {"postgres": Service(kind=Kind.POSTGRES)} | {k.value: Service(kind=k) for k in kinds}
        schedules = {job: value for job, value in QUIET.items() if job not in {k.value for k in kinds}}
        policy = BackupPolicy.model_validate({"schedules": schedules})
        return STACK.model_copy(update={"services": services, "backup": policy, **more})

    def fresh(self) -> list[Entry]:
        shift = self.now - datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
        moved = []
        for one in shelf():
            at = one.started_at + shift
            moved.append(entry(one.store, one.kind, at.replace(microsecond=0)))
        return moved

    def facts(self) -> Facts:
        return Facts(stack=self.stack, stack_digest="d" * 64, target=TARGET)

    def named(self, entry_id: str) -> Entry:
        return next(one for one in self.entries if one.id == entry_id)

    def restored(self, order: Any) -> RestoreProven:
        self.asked.append(order.entry_id)
        self.orders[type(order).__name__] = order
        proofs = (Proof(name="rows", passed=True, evidence="20,000 rows"),)
        return RestoreProven(
            entry=self.named(order.entry_id),
            passed=True,
            proofs=proofs,
            sentence="it holds what was recorded",
        )

    def far(self) -> OffsiteList:
        copied = self.now - timedelta(hours=1)
        return OffsiteList(
            entries=tuple(
                FarEntry(
                    id=one.id,
                    store=one.store,
                    kind=one.kind,
                    bytes=1,
                    objects=1,
                    finished=True,
                    copied_at=copied,
                    checked=True,
                    follows=True,
                )
                for one in self.entries
            )
        )

    def made_lately(self, *jobs: Job, **other: Any) -> None:
        """Have the schedules of jobs be an hour old, and due for the first time in two."""
        values = {"paused": False, "created_at": self.now - HOUR, "next_at": self.now + 2 * HOUR, **other}
        self.standings = Standings(
            standings=tuple(Standing.model_validate({"job": job, **values}) for job in jobs)
        )

    def without(self, *kinds: str) -> None:
        self.entries = [one for one in self.entries if one.kind not in kinds]

    def fail(self, name: str, error: DrError) -> None:
        self.hands.fail(name, error)

    def activities(self) -> list[Any]:
        @activity.defn(name="observe_open_recovery")
        async def opened(_: StackOrder) -> OpenRecovery:
            return OpenRecovery(because=self.opened)

        @activity.defn(name="ensure_told")
        async def tell(order: TellOrder) -> Told:
            if self.deaf:
                raise Refused("not told by pager (no answer); told by mail", code="not-told")
            self.told.append(order)
            return Told()

        # The last one is the usual one that tells.
        return [*self.hands.activities()[:-1], opened, tell]

    async def run(self, **request: Any) -> VerificationReport:
        found: VerificationReport = await self.client.execute_workflow(
            "BackupVerification",
            request,
            id="backup/lab/all/verification",
            task_queue=names.CONTROL_QUEUE,
            result_type=VerificationReport,
        )
        return found

    async def run_by_schedule(self) -> WorkflowHandle[Any, Any]:
        """Run it as its schedule does; return the scheduled run, which has ended."""
        handle: WorkflowHandle[Any, Any] = await self.client.start_workflow(
            "Scheduled",
            JobRequest(stack="lab", job=Job.VERIFICATION),
            id="scheduled/lab/verification-2026",
            task_queue=names.CONTROL_QUEUE,
        )
        with suppress(WorkflowFailureError):
            await handle.result()
        return handle


@asynccontextmanager
async def night_on(environment: WorkflowEnvironment, state: Path) -> AsyncIterator[Night]:
    """Have a night whose hands answer on the queues of ``environment``."""
    made = Night(environment.client, state)
    common: dict[str, Any] = {"activities": made.activities(), "interceptors": [Liveness(0.5)]}
    async with (
        Worker(
            environment.client,
            task_queue=names.CONTROL_QUEUE,
            workflows=[BackupVerification, Scheduled],
            **common,
        ),
        Worker(environment.client, task_queue=names.host_queue(), **common),
    ):
        yield made
