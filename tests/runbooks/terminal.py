"""``dr`` as somebody at a terminal calls it, against the Temporal server of the tests."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

ROOT = Path(__file__).parents[2]


@dataclass
class Said:
    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)["data"]

    @property
    def error(self) -> Any:
        return json.loads(self.out)["error"]


class Terminal:
    """A host whose ``dr`` finds that server and keeps its state in ``state``; nobody types."""

    def __init__(self, environment: WorkflowEnvironment, state: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DR_", "TEMPORAL_"))}
        self._environment = kept | {
            "DR_STATE": str(state),
            "PYTHONPATH": str(ROOT),
            "TEMPORAL_ADDRESS": environment.client.service_client.config.target_host,
        }

    async def dr(self, *words: str) -> Said:
        """Call ``dr`` and wait for its end; a traceback fails the test."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", "from starter.cli import main; main()", *words],
            env=self._environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)
