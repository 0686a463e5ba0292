import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from activities.ledger import Ledger
from activities.ledger_journal import Journal, LedgerFiles, put_flag
from domain.errors import Unavailable
from domain.ledger import LossOrder, MarkerState, Store
from domain.markers import Known, read_journal
from tests.hands.ledger.conftest import FACTS, REPOSITORY, Lab, acknowledged, more_in
from worker.ledger import MarkerWriter

DYING = """
import os, signal, sys
from pathlib import Path
from activities.ledger_journal import LedgerFiles
from domain.ledger import Store
from worker.ledger import MarkerWriter

write, fsync = os.write, os.fsync

class InFile:
    def __init__(self, path): self.path = path
    def __call__(self, *, may_create): return self
    def write(self, n):
        with self.path.open("a") as file: file.write(f"{n}\\n")
    def close(self): pass

def life(home, die_at, how):
    calls = 0
    def dying(call):
        def called(fd, *data):
            nonlocal calls
            calls += 1
            if calls == die_at:
                if how == "after": call(fd, *data)
                if how == "half" and data: write(fd, data[0][: len(data[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(fd, *data)
        return called
    os.write, os.fsync = dying(write), dying(fsync)
    writer = MarkerWriter(Store.REDIS, LedgerFiles(home, "dying"), InFile(home / "store"))
    for n in range(writer.highest + 1, writer.highest + 4): writer.turn(n)

for how in ("before", "half", "after"):
    survived, die_at = False, 0
    while not survived:
        die_at += 1
        home = Path(sys.argv[1]) / f"{how}-{die_at}"
        home.mkdir()
        for second_life in (False, True):
            if (child := os.fork()) == 0:
                life(home, 0 if second_life else die_at, how)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if not second_life: survived = status == 0
            elif status: sys.exit(f"the second life ended with {status}")
"""


@pytest.mark.kill
def test_the_journal_is_right_after_the_process_was_killed_in_the_middle_again_and_again(
    lab: Lab, files: LedgerFiles, ledger: Ledger, tmp_path: Path
) -> None:
    facts = tmp_path / "stack.yaml"
    facts.write_text(FACTS % lab.project)
    command = [
        *(sys.executable, "-m", "worker.ledger", "--stack", "ledgered", "--stack-file", str(facts)),
        *("--state", str(tmp_path), "--probes-per-second", "0"),
    ]
    for lives in range(4):
        with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE) as process:
            more_in(files, Store.POSTGRES, by=1)
            # Not at the end of a marker but somewhere in the second that follows.
            time.sleep(0.3 * lives)
            process.kill()
        assert process.returncode == -signal.SIGKILL
        if lives == 0:
            with files.journal(Store.POSTGRES).open("ab") as journal:
                journal.write(b'{"n":1,"state":"ackn')
    for store in Store:
        known = files.known(store)
        assert known.unreadable == 0
        assert list(known.attempted) == sorted(known.attempted)
        opened = lab.open(store)
        assert set(known.acknowledged) <= opened.present() <= set(known.attempted)
        opened.close()
    assert 1 not in files.known(Store.POSTGRES).attempted
    found = ledger.measure_loss(LossOrder(target=lab.target()))
    assert found.loss.postgres.seconds == 0.0
    assert found.loss.postgres.markers_acknowledged == acknowledged(files, Store.POSTGRES)


@pytest.mark.kill
def test_killed_at_any_write_the_journal_acknowledges_nothing_that_is_not_there(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(tmp_path)], cwd=REPOSITORY, check=True)
    homes = sorted(tmp_path.iterdir())
    assert len(homes) > 3 * 10
    for home in homes:
        known = LedgerFiles(home, "dying").known(Store.REDIS)
        present = {int(line) for line in (home / "store").read_text().split()}
        assert known.unreadable == 0, home
        assert set(known.acknowledged) <= present <= set(known.attempted), home
        assert len(known.acknowledged) >= 3, home


def test_a_journal_on_a_full_disk_keeps_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "postgres.jsonl"
    journal = Journal(path)
    journal.append(1, MarkerState.ATTEMPTED)
    whole = path.read_bytes()
    journal.close()
    code = (
        "import resource,signal,sys;from pathlib import Path;"
        "from activities.ledger_journal import Journal;from domain.ledger import MarkerState;"
        "signal.signal(signal.SIGXFSZ,signal.SIG_IGN);j=Journal(Path(sys.argv[1]));"
        f"resource.setrlimit(resource.RLIMIT_FSIZE,({len(whole) + 20},)*2)\n"
        "try: j.append(2,MarkerState.ATTEMPTED)\nexcept OSError: sys.exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], cwd=REPOSITORY, check=False)
    assert ended.returncode == 9
    assert path.read_bytes() == whole


def test_a_compacted_journal_says_the_same_of_what_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.ledger_journal.COMPACT_AFTER", 3)
    path = tmp_path / "redis.jsonl"
    journal = Journal(path)
    for n in range(1, 9):
        journal.append(n, MarkerState.ATTEMPTED)
        journal.append(n, MarkerState.ACKNOWLEDGED if n != 6 else MarkerState.REFUSED)
    before = read_journal(path.read_bytes())
    journal.append(4, MarkerState.PRUNED)
    journal.forget([1, 2, 3])
    journal.append(9, MarkerState.ATTEMPTED)
    journal.close()
    after = read_journal(path.read_bytes())
    assert after.pruned_below == 4
    assert after.acknowledged == {n: at for n, at in before.acknowledged.items() if n >= 4}
    assert set(after.attempted) == set(range(4, 10))


class Failing:
    """A store whose answers are told beforehand."""

    def __init__(self, answers: list[Exception | None]) -> None:
        self.answers = answers
        self.opened = 0

    def __call__(self, *, may_create: bool) -> "Failing":
        assert may_create
        self.opened += 1
        return self

    def write(self, n: int) -> None:
        assert n > 0
        answer = self.answers.pop(0)
        if answer is not None:
            raise answer

    def present(self) -> set[int]:
        return set()

    def prune(self, numbers: object) -> None:
        """Nothing to prune."""

    def close(self) -> None:
        """Nothing to close."""


def test_whatever_a_store_throws_the_marker_is_refused_and_the_next_one_connects_anew(
    tmp_path: Path,
) -> None:
    files = LedgerFiles(tmp_path, "told")
    store = Failing([None, RuntimeError("odd"), Unavailable("down", code="x"), None])
    writer = MarkerWriter(Store.REDIS, files, store)
    for n in (1, 2, 3, 4):
        writer.turn(n)
    writer.close()
    assert set(files.known(Store.REDIS).acknowledged) == {1, 4}
    assert set(files.known(Store.REDIS).attempted) == {1, 2, 3, 4}
    assert store.opened == 3
    assert isinstance(files.known(Store.OBJECTS), Known)


def test_a_flag_is_on_disk_with_its_owner(tmp_path: Path) -> None:
    assert put_flag(tmp_path / "deep" / "flag", "mine")
    assert not put_flag(tmp_path / "deep" / "flag", "mine")
    assert (tmp_path / "deep" / "flag").read_text() == "mine"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["flag"]
