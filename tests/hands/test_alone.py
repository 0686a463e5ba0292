"""One hand at a time on a host, however the other one ended."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from activities.alone import alone
from domain.errors import Refused, Unavailable

HOLD = """
import sys, time
from pathlib import Path
from activities.alone import alone
with alone(Path(sys.argv[1]), "dump-chat-daily"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_hand_is_told_of_the_first_and_another_work_goes_on(tmp_path: Path) -> None:
    with alone(tmp_path, "dump-chat-daily"):
        with pytest.raises(Unavailable) as told, alone(tmp_path, "dump-chat-daily", wait_seconds=0):
            pytest.fail("two at a time")
        assert told.value.code == "at-work"
        with alone(tmp_path, "dump-chat-weekly", wait_seconds=0):
            pass
    with alone(tmp_path, "dump-chat-daily", wait_seconds=0):
        pass


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Unavailable), alone(tmp_path, "dump-chat-daily", wait_seconds=0):
            pytest.fail("two at a time")
        other.kill()
        other.wait()
    with alone(tmp_path, "dump-chat-daily", wait_seconds=0):
        pass


def test_a_lock_that_ended_leaves_no_file_and_old_ones_that_nobody_holds_go(tmp_path: Path) -> None:
    directory = tmp_path / "locks"
    with alone(tmp_path, "proof-1"):
        assert [path.name for path in directory.iterdir()] == ["proof-1"]
    assert list(directory.iterdir()) == []
    for name in ("killed", "killed just now", "held"):
        (directory / name).touch()
    for name in ("killed", "held"):
        os.utime(directory / name, (1, 1))
    with (directory / "held").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with alone(tmp_path, "proof-2"):
            pass
        assert sorted(path.name for path in directory.iterdir()) == ["held", "killed just now"]


def test_a_lock_whose_file_cannot_be_removed_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, *, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EPERM, f"kept, {missing_ok=}", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refused)
        with pytest.raises(PermissionError), alone(tmp_path, "proof"):
            pass
    with alone(tmp_path, "proof", wait_seconds=0):
        pass
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.timeout(60)
def test_who_comes_while_a_lock_is_removed_does_not_hold_the_file_that_has_no_name_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one opens the first one's file; until it asks for the lock a third one holds a new file."""
    opened, go, inside, refused = (threading.Event() for _ in range(4))
    real_flock = fcntl.flock

    def slow(handle: int, how: int) -> None:
        if threading.current_thread().name == "second" and not opened.is_set():
            opened.set()
            assert go.wait(30)
        try:
            real_flock(handle, how)
        except BlockingIOError:
            if threading.current_thread().name == "second":
                refused.set()
            raise

    def second() -> None:
        with alone(tmp_path, "proof"):
            inside.set()

    monkeypatch.setattr(fcntl, "flock", slow)
    other = threading.Thread(target=second, name="second", daemon=True)
    with alone(tmp_path, "proof"):
        other.start()
        assert opened.wait(30)
    with alone(tmp_path, "proof", wait_seconds=0):
        go.set()
        while not refused.wait(0.05) and not inside.is_set():
            assert other.is_alive()
        assert not inside.is_set(), "two at a time"
    assert inside.wait(30)
    other.join(30)
    assert list((tmp_path / "locks").iterdir()) == []


COUNT = """
import sys
from pathlib import Path
from activities.alone import alone
state, count = Path(sys.argv[1]), Path(sys.argv[1]) / "count"
for _ in range(60):
    with alone(state, "count"):
        before = int(count.read_text())
        count.write_text(str(before + 1))
"""


@pytest.mark.timeout(120)
def test_hands_that_come_and_go_all_the_time_never_meet(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    script = [sys.executable, "-c", COUNT, str(tmp_path)]
    crowd = [subprocess.Popen(script) for _ in range(4)]
    assert [one.wait(100) for one in crowd] == [0] * 4
    assert (tmp_path / "count").read_text() == str(4 * 60)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_lock_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(Refused), alone(tmp_path, "../elsewhere"):
        pytest.fail("a path")
