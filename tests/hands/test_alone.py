"""One hand at a time on a host, however the other one ended."""

import subprocess
import sys
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


def test_a_lock_is_no_path(tmp_path: Path) -> None:
    with pytest.raises(Refused), alone(tmp_path, "../elsewhere"):
        pytest.fail("a path")
