"""The worker refuses to poll when its code cannot replay an open run (F-A7)."""

from collections.abc import Sequence

from temporalio.client import Client
from temporalio.worker import Interceptor, Replayer

from domain.errors import Refused


async def refuse_if_open_runs_cannot_replay(
    client: Client,
    queue: str,
    workflows: Sequence[type],
    interceptors: Sequence[Interceptor] = (),
) -> int:
    """Replay every open run of a queue against this code and return how many there were.

    Raises ``Refused`` with code ``cannot-replay``, naming the runs, when one does not fit.
    """
    replayer = Replayer(
        workflows=list(workflows),
        data_converter=client.data_converter,
        interceptors=list(interceptors),
    )
    open_runs = client.list_workflows(f"TaskQueue='{queue}' AND ExecutionStatus='Running'")
    failures: dict[str, str] = {}
    replayed = 0
    async for history in open_runs.map_histories():
        replayed += 1
        found = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        if found.replay_failure is not None:
            failures[history.workflow_id] = str(found.replay_failure)
    if failures:
        listed = "; ".join(f"{name}: {reason[:300]}" for name, reason in failures.items())
        raise Refused(
            f"this code cannot replay {len(failures)} open run(s): {listed}",
            where=queue,
            hint="start the release that began them, let them end, then update",
            code="cannot-replay",
        )
    return replayed
