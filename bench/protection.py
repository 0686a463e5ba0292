"""``python -m bench.protection``: what protecting a database costs those who use it.

The same chat is driven by pgbench on the lab's PostgreSQL: with nothing of ours running, with its WAL
streamed to the shelf, and with ledger and prober too. The three take turns, so that all see the same machine.
"""

import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from temporalio.client import Client

from bench.figures import Findings, Table, deliver, met, options
from bench.machine import describe
from bench.place import end_processes, say
from bench.stand import Stand, stand
from domain.errors import Unavailable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Outcome
from starter import orchestrator
from worker.settings import Settings
from workflows.backup import BackupRequest

RATE = 200
"""Transactions a second that a busy chat of this size asks for."""
RATIO_TARGET = 0.95
CLIENTS, THREADS = 8, 2
SETTLED_WITHIN_SECONDS = 60.0
BARE, WAL, LEDGER = "without protection", "with streamed WAL", "with streamed WAL and ledger"
KINDS = (BARE, WAL, LEDGER)
_SCRIPT = Path(__file__).with_name("chat.sql")
_MEMBERS = """
CREATE TABLE IF NOT EXISTS bench_member AS
SELECT row_number() OVER () AS n, channel_id, user_id FROM nchat_channel_members"""
_TPS = re.compile(r"tps = ([0-9.]+)")
_FAILED = re.compile(r"number of failed transactions: (\d+)")


@dataclass(frozen=True)
class Driven:
    """One run of pgbench: transactions a second, latencies in seconds."""

    kind: str
    rate: int
    """Transactions a second that were asked for; 0 is as many as it takes."""
    tps: float
    median_seconds: float
    high_seconds: float
    """95th percentile."""
    highest_seconds: float
    """99th percentile."""


class Chat:
    """The load, driven inside the server's container through its own socket."""

    def __init__(self, on: Stand) -> None:
        """Put the script where pgbench finds it."""
        self._stand = on
        self._server = on.facts().target.postgres
        on.sql(_MEMBERS)
        on.sql("CREATE UNIQUE INDEX IF NOT EXISTS bench_member_n ON bench_member (n)")
        on.sql("ANALYZE bench_member")
        self._members = int(on.sql("SELECT count(*) FROM bench_member")[0][0])
        self._run("sh", "-c", 'printf "%s" "$1" >/tmp/chat.sql', "dr", _SCRIPT.read_text(encoding="utf-8"))

    def drive(self, kind: str, rate: int, seconds: int) -> Driven:
        """Drive the chat for some seconds."""
        self._stand.sql("CHECKPOINT")
        self._run("sh", "-c", "rm -f /tmp/chat.log.*")
        limit = (f"--rate={rate}",) if rate else ()
        said = self._run(
            *("pgbench", "-n", "-M", "prepared", "-U", self._server.user, "-d", self._server.database),
            *("-f", "/tmp/chat.sql", "-D", f"members={self._members}"),  # noqa: S108 - the container's own
            *("-c", str(CLIENTS), "-j", str(THREADS), "-T", str(seconds), *limit),
            # The same seed: all kinds are asked for the same at the same moments.
            *("--random-seed=1", "-l", "--log-prefix=/tmp/chat.log"),
        )
        tps, failed = _TPS.search(said), _FAILED.search(said)
        if tps is None or (failed is not None and int(failed[1])):
            raise Unavailable("pgbench failed", where=said[-300:], code="bench-failed")
        log = self._run("sh", "-c", "cat /tmp/chat.log.*")
        taken = sorted(int(line.split()[2]) / 1e6 for line in log.splitlines())
        return Driven(
            kind=kind,
            rate=rate,
            tps=float(tps[1]),
            median_seconds=statistics.median(taken),
            high_seconds=taken[int(0.95 * (len(taken) - 1))],
            highest_seconds=taken[int(0.99 * (len(taken) - 1))],
        )

    def _run(self, *command: str) -> str:
        done = self._stand.engine.run(self._server.container_id, command)
        if done.exit_code != 0:
            raise Unavailable(f"{command[0]} failed", where=done.errors[-500:], code="bench-failed")
        return done.output


def switch_to(on: Stand, kind: str) -> None:
    """Have exactly the protection of this kind."""
    end_processes(on.settings.state)
    if kind == BARE:
        unprotect(on)
        return
    on.start_orchestrator()

    async def work(client: Client, settings: Settings) -> None:
        await orchestrator.execute(client, settings, "Protect", BackupRequest(stack=on.name), Outcome)

    orchestrator.run(work)
    if kind == LEDGER:
        # One user action a second, as outside of lab and drills.
        on.start_ledger(probes_per_second=1)
        _wait_for_markers(on)


def unprotect(on: Stand) -> None:
    """Take receiver and slot away; without them the server keeps no WAL for anybody."""
    mine: dict[str, str | list[str] | bool] = {
        "label": [f"{LABEL_STACK}={on.name}", f"{LABEL_ROLE}=receiver"]
    }
    for container in on.client.containers.list(all=True, filters=mine):
        container.remove(force=True, v=True)
    deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
    while on.sql("SELECT 1 FROM pg_replication_slots WHERE active"):
        if time.monotonic() > deadline:
            raise Unavailable("the receiver's slot stays active", code="bench-stuck")
        time.sleep(0.1)
    on.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def _wait_for_markers(on: Stand) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
    while not on.sql("SELECT 1 FROM dr.marker WHERE at > clock_timestamp() - interval '1 second'"):
        if time.monotonic() > deadline:
            raise Unavailable("the ledger writes no marker", code="bench-stuck")
        time.sleep(0.2)


def measure(runs: int, seconds: int, scale: str) -> Findings:
    """Let the three kinds take turns."""
    with stand("small" if scale == "small" else "demo") as on:
        found = Findings("protection", describe(on.settings.state, on.version()))
        chat = Chat(on)
        chat.drive(BARE, 0, min(seconds, 10))  # caches fill
        driven: list[Driven] = []
        for number in range(runs):
            # Each round begins with another kind: none of them always comes first.
            for kind in (*KINDS[number % 3 :], *KINDS[: number % 3]):
                switch_to(on, kind)
                for rate in (RATE, 0):
                    driven.append(chat.drive(kind, rate, seconds))
                    say(f"{kind}, {rate or 'no'} limit: {driven[-1].tps:.1f} tps")
    _tell(found, driven, runs, seconds)
    return found


def _tell(found: Findings, driven: Sequence[Driven], runs: int, seconds: int) -> None:
    found.data["runs"] = [asdict(one) for one in driven]
    for rate in (RATE, 0):
        bare = _middle(driven, BARE, rate)
        rows = []
        for kind in KINDS:
            mine = _middle(driven, kind, rate)
            ratio = mine.tps / bare.tps
            judged = met(ratio, RATIO_TARGET, at_least=True) if rate and kind != BARE else ""
            latencies = (mine.median_seconds, mine.high_seconds, mine.highest_seconds)
            rows.append(
                (kind, f"{mine.tps:.1f}", f"{ratio:.3f}",
                 *(f"{value * 1000:.2f} ms" for value in latencies), judged)
            )  # fmt: skip
            found.data[f"ratio at {rate or 'saturation'}, {kind}"] = ratio
        asked = f"{rate} transactions a second asked for" if rate else "As many as it takes"
        head = ("", "a second", "ratio", "median", "95 %", "99 %", f"target {RATIO_TARGET}" if rate else "")
        note = f"Medians of {runs} runs of {seconds} s each, {CLIENTS} clients."
        found.tables.append(Table(f"A chat's turns: {asked.lower()}", head, tuple(rows), note))


def _middle(driven: Sequence[Driven], kind: str, rate: int) -> Driven:
    """Return the medians of all runs of a kind."""
    mine = [one for one in driven if (one.kind, one.rate) == (kind, rate)]
    return Driven(
        kind=kind,
        rate=rate,
        tps=statistics.median(one.tps for one in mine),
        median_seconds=statistics.median(one.median_seconds for one in mine),
        high_seconds=statistics.median(one.high_seconds for one in mine),
        highest_seconds=statistics.median(one.highest_seconds for one in mine),
    )


def main() -> int:
    """Measure and print; 0 unless something could not be measured at all."""
    parser = options("protection", (__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="rounds of the three kinds")
    parser.add_argument("--seconds", type=int, default=20, help="how long pgbench runs each time")
    parser.add_argument("--scale", choices=["small", "demo"], default="demo", help="size of the chat")
    asked = parser.parse_args()
    deliver(measure(asked.runs, asked.seconds, asked.scale), asked)
    return 0


if __name__ == "__main__":
    sys.exit(main())
