import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from domain.errors import Refused
from infra import daemons
from infra.daemons import Daemon

SLEEPER = (sys.executable, "-c", "import time; time.sleep(300)")
DEAF_PROGRAM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('deaf', flush=True)
time.sleep(300)
"""
DEAF = (sys.executable, "-c", DEAF_PROGRAM)


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


@pytest.fixture
def run_directory(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "run"
    yield directory
    for name in daemons.names(directory):
        daemons.stop(directory, name, grace_seconds=0.2)


def sleeper(run_directory: Path, name: str = "sleeper", *, supervised: bool = False) -> Daemon:
    return Daemon(name=name, argv=SLEEPER, run_directory=run_directory, supervised=supervised)


def exists(pid: int) -> bool:
    stat = daemons._stat(pid)
    return stat is not None and stat[0] != "Z"


def test_a_daemon_runs_in_its_own_session_with_its_log_directory_and_environment(tmp_path: Path) -> None:
    run_directory = tmp_path / "run"
    program = "import os; print(os.getsid(0) == os.getpid(), os.environ['WORD'], os.getcwd(), flush=True)"
    daemon = Daemon(
        name="speaker",
        argv=(sys.executable, "-c", program),
        run_directory=run_directory,
        cwd=tmp_path,
        env={"WORD": "hello"},
    )
    daemons.start(daemon)
    eventually(lambda: not daemons.is_running(run_directory, "speaker"), "the speaker ends")
    assert (run_directory / "speaker.log").read_text() == f"True hello {tmp_path}\n"


def test_a_second_start_finds_the_first(run_directory: Path) -> None:
    first = daemons.start(sleeper(run_directory))
    assert daemons.start(sleeper(run_directory)) == first


def test_a_daemon_outlives_the_command_that_started_it(run_directory: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from infra import daemons\n"
        f"daemons.start(daemons.Daemon(name='sleeper', argv={SLEEPER!r}, run_directory=Path(sys.argv[1])))"
    )
    subprocess.run([sys.executable, "-c", program, str(run_directory)], check=True)
    assert daemons.is_running(run_directory, "sleeper")


def test_stop_ends_what_was_started_and_a_second_stop_finds_nothing(run_directory: Path) -> None:
    record = daemons.start(sleeper(run_directory))
    assert daemons.stop(run_directory, "sleeper")
    assert not exists(record.pid)
    assert not daemons.stop(run_directory, "sleeper")


def test_a_program_that_ignores_sigterm_is_killed(run_directory: Path) -> None:
    record = daemons.start(Daemon(name="deaf", argv=DEAF, run_directory=run_directory))
    eventually(lambda: "deaf" in (run_directory / "deaf.log").read_text(), "the program closes its ears")
    assert daemons.stop(run_directory, "deaf", grace_seconds=0.2)
    assert not exists(record.pid)


def test_a_recycled_pid_is_never_signalled(run_directory: Path) -> None:
    record = daemons.start(sleeper(run_directory))
    path = run_directory / "sleeper.json"
    stranger = {**json.loads(path.read_text()), "start_ticks": record.start_ticks - 1}
    path.write_text(json.dumps(stranger))
    try:
        assert not daemons.is_running(run_directory, "sleeper")
        assert not daemons.stop(run_directory, "sleeper")
        assert exists(record.pid)
    finally:
        os.kill(record.pid, signal.SIGKILL)
        eventually(lambda: not exists(record.pid), "the sleeper is gone")


def test_a_record_of_an_earlier_boot_counts_for_nothing(run_directory: Path) -> None:
    record = daemons.start(sleeper(run_directory))
    path = run_directory / "sleeper.json"
    original = path.read_text()
    path.write_text(json.dumps({**json.loads(original), "boot_id": "another boot"}))
    assert not daemons.is_running(run_directory, "sleeper")
    assert exists(record.pid)
    path.write_text(original)


@pytest.mark.parametrize("supervised", [False, True])
def test_a_missing_program_is_refused_by_name(run_directory: Path, *, supervised: bool) -> None:
    daemon = Daemon(
        name="ghost", argv=("/nowhere/ghost",), run_directory=run_directory, supervised=supervised
    )
    with pytest.raises(Refused, match="/nowhere/ghost") as refusal:
        daemons.start(daemon)
    assert refusal.value.code == "program-missing"


def test_a_supervised_program_that_dies_is_started_again(run_directory: Path) -> None:
    daemons.start(sleeper(run_directory, supervised=True))
    eventually(lambda: daemons.is_running(run_directory, "sleeper.child"), "the child is recorded")
    first = daemons.recorded(run_directory, "sleeper.child")
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)

    def reborn() -> bool:
        now = daemons.recorded(run_directory, "sleeper.child")
        return now is not None and now.pid != first.pid

    eventually(reborn, "another child runs")


def pauses(run_directory: Path, name: str) -> list[str]:
    lines = (run_directory / f"{name}.log").read_text(encoding="utf-8").splitlines()
    return [line.split("again in ")[1] for line in lines if "again in " in line]


def test_what_is_killed_time_and_again_comes_back_as_fast_as_the_first_time(run_directory: Path) -> None:
    daemons.start(sleeper(run_directory, supervised=True))
    killed: set[int] = set()
    for _ in range(3):

        def reborn() -> bool:
            now = daemons.recorded(run_directory, "sleeper.child")
            return now is not None and now.pid not in killed

        eventually(reborn, "a child runs")
        child = daemons.recorded(run_directory, "sleeper.child")
        assert child is not None
        killed.add(child.pid)
        os.kill(child.pid, signal.SIGKILL)
    eventually(lambda: len(pauses(run_directory, "sleeper")) == 3, "its supervisor has seen three deaths")
    assert set(pauses(run_directory, "sleeper")) == {"0.5 s"}


def test_what_fails_by_itself_is_started_again_after_a_growing_pause(run_directory: Path) -> None:
    failing = (sys.executable, "-c", "raise SystemExit(5)")
    daemons.start(Daemon(name="failing", argv=failing, run_directory=run_directory, supervised=True))
    eventually(lambda: len(pauses(run_directory, "failing")) == 3, "it has failed three times")
    assert pauses(run_directory, "failing") == ["0.5 s", "1.0 s", "2.0 s"]
    assert daemons.stop(run_directory, "failing")


def test_stopping_a_supervised_daemon_ends_supervisor_and_child(run_directory: Path) -> None:
    supervisor = daemons.start(sleeper(run_directory, supervised=True))
    eventually(lambda: daemons.is_running(run_directory, "sleeper.child"), "the child is recorded")
    child = daemons.recorded(run_directory, "sleeper.child")
    assert child is not None
    assert daemons.stop(run_directory, "sleeper")
    assert not exists(supervisor.pid)
    assert not exists(child.pid)


def test_a_child_left_by_a_killed_supervisor_is_ended_before_another_starts(run_directory: Path) -> None:
    supervisor = daemons.start(sleeper(run_directory, supervised=True))
    eventually(lambda: daemons.is_running(run_directory, "sleeper.child"), "the child is recorded")
    orphan = daemons.recorded(run_directory, "sleeper.child")
    assert orphan is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: not daemons.is_running(run_directory, "sleeper"), "the supervisor is gone")
    daemons.start(sleeper(run_directory, supervised=True))
    assert not exists(orphan.pid)


def test_a_supervised_program_that_ends_well_is_left_alone(run_directory: Path) -> None:
    daemons.start(
        Daemon(name="brief", argv=(sys.executable, "-c", ""), run_directory=run_directory, supervised=True)
    )
    eventually(lambda: not daemons.is_running(run_directory, "brief"), "the supervisor ends with it")
    assert not daemons.is_running(run_directory, "brief.child")


def test_two_commands_at_once_start_one_daemon(run_directory: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from infra import daemons\n"
        f"argv = {SLEEPER!r}\n"
        "daemon = daemons.Daemon(name='sleeper', argv=argv, run_directory=Path(sys.argv[1]))\n"
        "print(daemons.start(daemon).pid)"
    )
    argv = [sys.executable, "-c", program, str(run_directory)]
    commands = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    pids = {command.communicate()[0].strip() for command in commands}
    assert len(pids) == 1
