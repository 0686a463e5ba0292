"""Runbooks on a real Temporal server, with hands that only answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.history import Histories
from activities.people import TellOrder
from activities.postgres.integrity import VerifyServerOrder
from activities.reports import Reports
from activities.traffic import JourneyOrder
from domain import names
from domain.backups import (
    Backup,
    BackupChoice,
    BackupList,
    BackupOrder,
    ChooseOrder,
    Level,
    ReceiveOrder,
    Receiving,
    ShelfOrder,
    VerifyBackupOrder,
)
from domain.diagnosis import Assessment, Finding, Verdict, Witness
from domain.errors import DrError, Unavailable
from domain.exchange import SwapOrder, Swapped, SwapSettled
from domain.far_choice import FarChoice, FarChooseOrder, Recalled
from domain.gates import GatePolicy
from domain.incident import RecoveryRequest, RecoveryResult, StatusView, Told
from domain.ledger import Downtime, DowntimeOrder, Loss, LossOrder, MarkersPaused, MeasuredLoss, StoreLoss
from domain.offsite_copies import FetchOrder
from domain.order import Facts, Order, Outcome, PostgresTarget, ServiceTarget, StackOrder, Target, TargetOrder
from domain.recovery import (
    Copy,
    Fenced,
    FollowOrder,
    Judged,
    LastWal,
    LastWalOrder,
    Promoted,
    PromoteOrder,
    Proof,
    Restored,
    RestoreOrder,
    ServeOrder,
    ServicesOrder,
    ServicesStarted,
    ServicesStopped,
    Serving,
    Verified,
    VerifyOrder,
)
from domain.reindexing import Reindexed, ReindexOrder, VerifyReindexedOrder
from domain.release import DiscardOrder, Released
from domain.report import ReportOrder, ReportWritten
from domain.stack import Kind, Objective, Service, Stack
from infra.temporal.server import find_program
from worker.liveness import Liveness
from workflows.database_corruption import DatabaseCorruption

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LOSSLESS = Loss(postgres=StoreLoss(seconds=0.0, markers_lost=0, markers_acknowledged=100))


def service(name: str, kind: Kind) -> ServiceTarget:
    return ServiceTarget(
        name=name,
        kind=kind,
        container_id=f"id-{name}",
        container_name=f"x_{name}",
        image="i",
        image_id="sha256:1",
        state="running",
    )


TARGET = Target(
    stack="lab",
    project="lab",
    postgres=PostgresTarget(
        service="postgres",
        container_id="c",
        container_name="x_postgres",
        image_id="sha256:1",
        volume="v",
        mount_path="/var/lib/postgresql/data",
        pgdata="/var/lib/postgresql/data",
        uid=999,
        gid=999,
    ),
    services=(
        service("postgres", Kind.POSTGRES),
        service("hasura", Kind.HASURA),
        service("meilisearch", Kind.SEARCH),
    ),
    shelf="/shelf",
)
STACK = Stack(
    stack="lab",
    project="lab",
    services={"postgres": Service(kind=Kind.POSTGRES)},
    scenarios={"database_corruption": Objective(rto=timedelta(minutes=30), rpo=timedelta(minutes=5))},
    gates={"swap": GatePolicy(self_approval="refused")},
)
BACKUP = Backup(
    id="20260102T000000Z-base",
    path="postgres/base/x",
    started_at=NOW,
    ended_at=NOW,
    bytes=1,
    system_identifier="1",
    server_version="17.0",
    image_id="sha256:1",
    timeline=1,
    start_lsn="0/1",
    stop_lsn="0/2",
    start_segment="0" * 24,
    verified=Level.MANIFEST,
)
COPY = Copy(
    container="k", volume="w", socket_dir="/s", user="postgres", database="d", timeline=1, replayed_lsn="0/3"
)
PASSED = (Proof(name="heap and index counts", passed=True, evidence="equal"),)


def assessment(verdict: Verdict, *, answers: bool = True) -> Assessment:
    return Assessment(
        verdict=verdict,
        because="invalid page in block 7",
        running=True,
        answers=answers,
        timeline=1,
        witnesses=(Witness(name="amcheck", finding=Finding.DAMAGED, evidence="block 7"),),
        sentence="looked",
    )


class Hands:
    """One answer for each hand; a test replaces those that its sentence is about."""

    def __init__(self, state: Path, client: Client) -> None:
        self.called: list[str] = []
        self.said: list[str] = []

        async def connect() -> Client:
            return client

        self._reports = Reports(state, Histories(connect), "http://ui/namespaces/default")
        self.answers: dict[str, tuple[type[Order], Callable[[Any], Outcome]]] = {
            "observe_stack": (StackOrder, lambda _: Facts(stack=STACK, stack_digest="d" * 64, target=TARGET)),
            "assess_corruption": (TargetOrder, lambda _: assessment(Verdict.CORRUPT)),
            "ensure_quiet": (TargetOrder, lambda _: Outcome(sentence="quiet")),
            "ensure_unquiet": (TargetOrder, lambda _: Outcome()),
            "choose_backup": (ChooseOrder, lambda _: BackupChoice(backup=BACKUP, sentence="chosen")),
            "choose_offsite": (FarChooseOrder, lambda _: FarChoice(missing="nothing is off-site")),
            "ensure_recalled": (FetchOrder, lambda o: Recalled(id=o.entry_id, sentence="fetched")),
            "ensure_restored": (RestoreOrder, lambda _: Restored(volume="w", bytes=2**30, seconds=1)),
            "ensure_following": (FollowOrder, lambda _: COPY),
            "verify_copy": (VerifyOrder, lambda _: Verified(passed=True, lsn="0/3", proofs=PASSED)),
            "observe_backups": (ShelfOrder, lambda _: BackupList(backups=(BACKUP,))),
            "measure_loss": (LossOrder, lambda _: MeasuredLoss(loss=LOSSLESS, skew_seconds=0.5)),
            "ensure_markers_paused": (TargetOrder, lambda _: MarkersPaused(paused_at=NOW)),
            "ensure_markers_resumed": (TargetOrder, lambda _: Outcome()),
            "ensure_recovery_flagged": (TargetOrder, lambda _: Outcome()),
            "ensure_recovery_cleared": (TargetOrder, lambda _: Outcome()),
            "ensure_writers_stopped": (ServicesOrder, lambda _: ServicesStopped(services=("hasura",))),
            "ensure_fenced": (
                TargetOrder,
                lambda _: Fenced(terminated_sessions=1, foreign_sessions=0, fenced_at=NOW),
            ),
            "ensure_unfenced": (TargetOrder, lambda _: Outcome()),
            "ensure_last_wal": (
                LastWalOrder,
                lambda _: LastWal(
                    target_lsn="0/4", replayed_lsn="0/4", source="archive", server_stopped_cleanly=True
                ),
            ),
            "ensure_promoted": (
                PromoteOrder,
                lambda o: Promoted(timeline=2, system_identifier="1", slot=o.slot),
            ),
            "ensure_swapped_in": (SwapOrder, lambda _: Swapped(kept_volume="w", kept_bytes=5, keeper="k")),
            "ensure_swap_settled": (SwapOrder, lambda _: SwapSettled()),
            "ensure_serving": (ServeOrder, lambda _: Serving(timeline=2, writable_at=NOW)),
            "ensure_receiving": (ReceiveOrder, lambda o: Receiving(slot=o.slot, directory="d", active=True)),
            "ensure_services_started": (ServicesOrder, lambda _: ServicesStarted()),
            "verify_metadata": (TargetOrder, lambda _: Judged(passed=True)),
            "ensure_search_in_line": (TargetOrder, lambda _: Judged(passed=True)),
            "verify_user_journey": (
                JourneyOrder,
                lambda _: Judged(
                    passed=True, proofs=(Proof(name="user: sign in", passed=True, evidence="200"),)
                ),
            ),
            "ensure_reindexed": (
                ReindexOrder,
                lambda o: Reindexed(rebuilt=tuple(i.name for i in o.indexes), sentence="rebuilt"),
            ),
            "verify_reindexed": (VerifyReindexedOrder, lambda _: Judged(passed=True, proofs=PASSED)),
            "verify_server": (VerifyServerOrder, lambda _: Judged(passed=True)),
            "measure_downtime": (DowntimeOrder, lambda _: Downtime(seconds=2.5, actions=10)),
            "ensure_base_backup": (BackupOrder, lambda _: BACKUP),
            "ensure_recorded_restored": (VerifyBackupOrder, lambda _: BACKUP),
            "ensure_discarded": (DiscardOrder, lambda _: Released()),
        }

    def answer(self, name: str, given: Callable[[Any], Outcome]) -> None:
        self.answers[name] = (self.answers[name][0], given)

    def assess(self, verdict: Verdict, *, answers: bool = True) -> None:
        self.answer("assess_corruption", lambda _: assessment(verdict, answers=answers))

    def fail(self, name: str, error: DrError, times: int = 10**6) -> None:
        """Let a hand fail so often, then answer as before."""
        order, normal = self.answers[name]
        left = [times]

        def failing(given: Any) -> Outcome:
            if left[0] > 0:
                left[0] -= 1
                raise error
            return normal(given)

        self.answers[name] = (order, failing)

    def activities(self) -> list[Callable[..., Any]]:
        made = [self._hand(name, order) for name, (order, _) in self.answers.items()]

        @activity.defn(name="ensure_report_written")
        async def report(order: ReportOrder) -> ReportWritten:
            return await self._reports.ensure_report_written(order)

        @activity.defn(name="ensure_told")
        async def tell(order: TellOrder) -> Told:
            self.said.append(order.sentence)
            return Told()

        return [*made, report, tell]

    def _hand(self, name: str, order: type[Order]) -> Callable[..., Any]:
        async def hand(given: Any) -> Any:
            self.called.append(name)
            return await asyncio.to_thread(self.answers[name][1], given)

        hand.__annotations__ = {"given": order, "return": Any}
        return activity.defn(name=name)(hand)


@pytest.fixture(scope="session")
def temporal_program() -> str:
    return find_program()


@pytest.fixture
async def environment(temporal_program: str) -> AsyncIterator[WorkflowEnvironment]:
    keys = [_key(name, kind) for name, kind in names.SEARCH_ATTRIBUTES]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_program,
        search_attributes=keys,
        data_converter=pydantic_data_converter,
        dev_server_log_level="error",
    ) as env:
        yield env


def _key(name: str, kind: str) -> SearchAttributeKey[Any]:
    makers: dict[str, Callable[[str], SearchAttributeKey[Any]]] = {
        "Keyword": SearchAttributeKey.for_keyword,
        "Int": SearchAttributeKey.for_int,
        "Bool": SearchAttributeKey.for_bool,
        "Datetime": SearchAttributeKey.for_datetime,
    }
    return makers[kind](name)


class Bench:
    """A worker with answering hands, and short ways to run and to look."""

    def __init__(self, client: Client, hands: Hands) -> None:
        self.client = client
        self.hands = hands

    async def start(
        self, request: RecoveryRequest | None = None, workflow_id: str = "recovery/lab"
    ) -> WorkflowHandle[Any, RecoveryResult]:
        return await self.client.start_workflow(
            "DatabaseCorruption",
            request or RecoveryRequest(requested_by="somebody else"),
            id=workflow_id,
            task_queue=names.CONTROL_QUEUE,
            result_type=RecoveryResult,
        )

    async def until(self, handle: WorkflowHandle[Any, Any], state: str) -> StatusView:
        while True:
            view: StatusView = await handle.query("status", result_type=StatusView)
            if view.state == state:
                return view
            if view.state == "ended":
                pytest.fail(f"the run ended without reaching {state}: {view.lines}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def bench_on(
    environment: WorkflowEnvironment, state: Path, workflows: Sequence[type] = (DatabaseCorruption,)
) -> AsyncIterator[Bench]:
    """Run a worker with answering hands and some version of the runbooks."""
    client = environment.client
    hands = Hands(state, client)
    with ThreadPoolExecutor() as threads:
        common: dict[str, Any] = {"activity_executor": threads, "interceptors": [Liveness(0.5)]}
        async with (
            Worker(
                client,
                task_queue=names.CONTROL_QUEUE,
                workflows=workflows,
                activities=hands.activities(),
                workflow_failure_exception_types=[ValidationError],
                **common,
            ),
            Worker(client, task_queue=names.host_queue(), activities=hands.activities(), **common),
        ):
            yield Bench(client, hands)


@pytest.fixture
async def bench(environment: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench_on(environment, tmp_path) as made:
        yield made


@pytest.fixture
def unavailable() -> DrError:
    return Unavailable("the server is away", code="away")
