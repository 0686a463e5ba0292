"""``python -m tests.replay.record [BRANCH ...]``: plays branches on a real server and keeps their histories.

Record again only together with a change of a runbook that open runs cannot survive, and say so in the
commit: a history that was recorded again proves nothing about runs of the release before.
"""

import asyncio
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.replay.branches import BRANCHES
from tests.replay.stage import temporal
from tests.runbooks.conftest import bench_on

HISTORIES = Path(__file__).parent / "histories"


def without_machine(text: str) -> str:
    """Return a history whose stack traces name files of the tree and of packages, not of a machine."""
    packages = f"{sysconfig.get_path('purelib')}/"
    return text.replace(packages, "").replace(f"{HISTORIES.parents[2]}/", "")


async def record(names: list[str]) -> None:
    """Play the branches one after the other, each with hands of its own."""
    HISTORIES.mkdir(exist_ok=True)
    async with temporal() as environment:
        for name in names:
            play, outcome = BRANCHES[name]
            with tempfile.TemporaryDirectory(prefix="dr-") as state:
                async with bench_on(environment, Path(state)) as bench:
                    handle = await play(bench)
                    result = await handle.result()
            if result.outcome != outcome:
                sys.exit(f"{name} ended as {result.outcome}, not as {outcome}: {result.rule}")
            history = await handle.fetch_history()
            text = without_machine(history.to_json())
            (HISTORIES / f"{name}.json").write_text(text + "\n", encoding="utf-8")
            print(f"{name}: {len(history.events)} events, {result.outcome}")  # noqa: T201 - a program


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:] or list(BRANCHES)))
