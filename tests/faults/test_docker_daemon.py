"""The Docker daemon dies in the middle of a recovery: a private one, so that nothing else notices."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from infra.images.build import Images
from infra.lab.settings import SERVICES
from tests.e2e.stand import ROOT, until
from tests.faults.harness.dockerd import PrivateDockerd
from tests.faults.harness.plan import Plan
from tests.faults.harness.stand import FaultStand, assert_fired, assert_undisturbed
from tests.faults.record import Seen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def interfaces() -> set[str]:
    """Return the network interfaces of the host, but those that come and go with containers."""
    return {one.name for one in Path("/sys/class/net").iterdir() if not one.name.startswith(("veth", "br-"))}


@pytest.fixture(scope="module")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDockerd]:
    if shutil.which("ip") is None:
        pytest.skip("the private daemon needs a bridge of its own: no program 'ip' (iproute2)")
    names = [*SERVICES, "tools"]
    with closing(docker.from_env(timeout=600)) as client:
        images = Images(client, ROOT / ".dr" / "cache", lambda *_: None)
        for name in names:
            images.ensure(name)
    before = interfaces()
    with PrivateDockerd(tmp_path_factory.mktemp("dockerd")) as private:
        private.load([images.reference(name) for name in names])
        yield private
    assert before <= interfaces(), "the host's own bridge is as it was"


@pytest.fixture(scope="module")
def private_stand(dockerd: PrivateDockerd) -> Iterator[FaultStand]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", dockerd.host)
        stand = FaultStand()
        try:
            stand.up()
            yield stand
        finally:
            stand.down()


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("ensure_restored", "while the backup is copied"),
        ("ensure_promoted", "after the fence, while the copy is promoted"),
        ("start:hasura", "while the services come back"),
    ],
)
@pytest.mark.fault("B1", at_length=True)
def test_a_docker_daemon_killed_in_the_middle_only_makes_the_recovery_longer(
    dockerd: PrivateDockerd, private_stand: FaultStand, seen: Seen, step: str, what: str
) -> None:
    """F-B1: Docker daemon restarts mid-recovery; the policy `always` revives what was stopped by hand."""
    stand = private_stand
    pause = Plan(step, "step", "hand", 1, "before", "delay", seconds=3.0)

    def strike() -> None:
        until(stand.folder.fired, f"the step {step}")
        dockerd.kill()
        seen(f"dockerd killed {what}")
        dockerd.start()

    ended = stand.disturbed_recovery(pause, meanwhile=strike)
    assert_fired(ended)
    assert_undisturbed(stand, ended)
    assert Path(stand.target().shelf).is_dir()
    stand.release(ended.report["recovery_id"])
