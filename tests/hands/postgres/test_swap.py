import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import psycopg
import pytest

from activities.engine import ContainerState, Engine
from activities.postgres.release import Releasing
from activities.postgres.sql import Sql
from activities.records import Records
from activities.tokens import Tokens
from domain.backups import ReceiveOrder
from domain.errors import DrError, Refused, Unavailable, VerificationFailed
from domain.exchange import SwapSettled
from domain.names import container_name
from domain.release import DiscardOrder, Released, ReleaseOrder
from tests.hands.postgres.conftest import Server
from tests.hands.postgres.scene import Scene, recovery


@pytest.fixture
def scene(server: Server, sql: Sql) -> Iterator[Scene]:
    with recovery(server, sql) as made:
        made.protect()
        yield made


def both(scene: Scene, volume: str) -> tuple[int, int]:
    return scene.inode(scene.target.postgres.volume), scene.inode(volume)


def release(scene: Scene) -> Released:
    return scene.releasing.ensure_released(ReleaseOrder(release_of=scene.rid))


def discard(scene: Scene, volume: str = "") -> Released:
    return scene.releasing.ensure_discarded(
        DiscardOrder(recovery_id=scene.rid, target=scene.target, volume=volume)
    )


def sleeper(scene: Scene, volume: str, *, ours: bool = False) -> ContainerState:
    """Start a container that has the volume mounted and does nothing."""
    found = scene.server.client.containers.run(
        scene.target.postgres.image_id,
        entrypoint=["sleep", "300"],
        detach=True,
        network_mode="none",
        labels={"dr.recovery" if ours else "dr.stack": scene.rid if ours else scene.target.stack},
        volumes={volume: {"bind": "/mnt", "mode": "rw"}},
    )
    state = scene.engine.look(str(found.id))
    assert state is not None
    return state


def test_a_server_that_answered_serves_again_with_every_acknowledged_row(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    scene.writer.start()
    scene.writer.wait_for(300)
    scene.fence()
    scene.writer.stop()
    promoted = scene.promote(copy, scene.drain(copy, answers=True))
    swapped = scene.swap(copy.volume)
    serving = scene.serve(promoted.timeline)
    assert scene.missing() == set()
    assert scene.swap(copy.volume) == swapped
    assert scene.serve(promoted.timeline) == serving
    received = scene.protection.ensure_receiving(ReceiveOrder(target=scene.target, slot=scene.slot))
    assert received.active


def test_a_killed_server_without_control_file_serves_again_with_every_acknowledged_row(scene: Scene) -> None:
    scene.writer.start()
    scene.writer.wait_for(300)
    scene.kill_server()
    scene.destroy_control_file()
    copy, promoted = scene.to_promoted(answers=False)
    scene.swap(copy.volume)
    assert scene.serve(promoted.timeline).timeline == 2
    assert scene.missing() == set()


def test_the_exchange_is_done_once_however_often_it_is_asked_for(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    live, restored = both(scene, copy.volume)
    first = scene.swap(copy.volume)
    assert both(scene, copy.volume) == (restored, live)
    assert scene.swap(copy.volume) == first
    # Killed after the exchange and before the record of it.
    records = Records(scene.state)
    record = records.read("swap", scene.rid)
    assert record is not None
    records.write("swap", scene.rid, {key: value for key, value in record.items() if key != "kept_bytes"})
    assert scene.swap(copy.volume).kept_volume == copy.volume
    assert both(scene, copy.volume) == (restored, live)


def test_two_racing_attempts_do_not_put_the_damage_back(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    live, restored = both(scene, copy.volume)
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            scene.swap(copy.volume)
        except DrError as error:
            errors.append(error)

    racing = [threading.Thread(target=attempt) for _ in range(3)]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join()
    scene.swap(copy.volume)
    assert both(scene, copy.volume) == (restored, live)
    assert all(isinstance(error, Unavailable) for error in errors), errors


def settle(scene: Scene, volume: str) -> SwapSettled:
    return scene.swapping.ensure_swap_settled(scene.swap_order(volume))


def test_an_exchange_that_never_answered_is_found_out_by_the_data_and_never_taken_back(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    live, restored = both(scene, copy.volume)
    first = scene.swap(copy.volume)
    records = Records(scene.state)
    record = records.read("swap", scene.rid)
    assert record is not None
    records.write("swap", scene.rid, {key: value for key, value in record.items() if key != "kept_bytes"})
    assert settle(scene, copy.volume).swapped == first
    assert settle(scene, copy.volume).swapped == first
    assert both(scene, copy.volume) == (restored, live)


@pytest.mark.long
def test_an_exchange_that_never_took_place_leaves_nothing_that_keeps_the_copy_from_its_removal(
    scene: Scene,
) -> None:
    copy, _ = scene.to_promoted(answers=True)
    data = Path(scene.engine.root()) / "volumes" / copy.volume / "_data"
    (data / "standby.signal").touch()
    with pytest.raises(Refused, match="swap-unfit"):
        scene.swap(copy.volume)
    assert not discard(scene).volumes, "an exchange may have taken it"
    assert settle(scene, copy.volume).swapped is None
    assert settle(scene, copy.volume).swapped is None
    assert discard(scene).volumes == (copy.volume,)
    assert not scene.engine.labelled(f"dr.recovery={scene.rid}")


@pytest.mark.long
def test_an_exchange_with_a_strange_directory_is_not_said_to_be_settled(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    scene.swap(copy.volume)
    volumes = Path(scene.engine.root()) / "volumes"
    data = volumes / copy.volume / "_data"
    data.rename(volumes / copy.volume / "aside")
    data.mkdir()
    with pytest.raises(Refused, match="swap-strange"):
        settle(scene, copy.volume)


@pytest.mark.long
def test_an_exchange_that_somebody_undid_by_hand_is_not_repeated(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    live, restored = both(scene, copy.volume)
    scene.swap(copy.volume)
    volumes = Path(scene.engine.root()) / "volumes"
    one, other = (volumes / name / "_data" for name in (scene.target.postgres.volume, copy.volume))
    aside = volumes / copy.volume / "aside"
    one.rename(aside)
    other.rename(one)
    aside.rename(other)
    with pytest.raises(Refused, match="swap-strange"):
        scene.swap(copy.volume)
    assert both(scene, copy.volume) == (live, restored)


def test_nothing_is_exchanged_while_a_container_runs_on_either_volume(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    before = both(scene, copy.volume)
    for volume in (copy.volume, scene.target.postgres.volume):
        other = sleeper(scene, volume)
        with pytest.raises(Refused, match="volume-in-use"):
            scene.swap(copy.volume)
        scene.engine.remove(other.id, force=True)
    scene.engine.start(scene.target.postgres.container_id)
    with pytest.raises(Refused, match="server-runs"):
        scene.swap(copy.volume)
    assert both(scene, copy.volume) == before


def test_a_copy_that_was_never_promoted_is_not_swapped_in(scene: Scene) -> None:
    scene.restore()
    copy = scene.follow()
    scene.engine.stop(copy.container, 30)
    scene.kill_server()
    before = both(scene, copy.volume)
    with pytest.raises(Refused, match="swap-unfit"):
        scene.swap(copy.volume)
    assert both(scene, copy.volume) == before


def test_the_keeper_holds_the_kept_volume_until_it_is_released(scene: Scene) -> None:
    copy, promoted = scene.to_promoted(answers=True)
    swapped = scene.swap(copy.volume)
    keeper = scene.engine.look(swapped.keeper)
    assert keeper is not None
    assert keeper.status == "created"
    with pytest.raises(docker.errors.APIError, match="in use"):
        scene.server.client.api.remove_volume(copy.volume)
    assert discard(scene).volumes == ()
    assert scene.engine.volume(copy.volume) is not None
    scene.serve(promoted.timeline)
    found = release(scene)
    assert found.volumes == (copy.volume,)
    assert found.bytes == swapped.kept_bytes
    assert scene.engine.volume(copy.volume) is None
    assert scene.engine.look(swapped.keeper) is None
    assert release(scene) == found
    assert scene.server.ask("SELECT count(*) FROM users") == 200


@pytest.mark.long
def test_a_kept_volume_that_a_container_uses_is_not_released(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    scene.swap(copy.volume)
    for ours in (False, True):
        other = sleeper(scene, copy.volume, ours=ours)
        with pytest.raises(Refused, match="volume-live"):
            release(scene)
        scene.engine.remove(other.id, force=True)
    assert scene.engine.volume(copy.volume) is not None


@pytest.mark.long
def test_a_container_that_kept_the_directory_it_opened_is_seen_by_its_mounts(scene: Scene) -> None:
    # Volume names lie while containers run: this one was started on the live volume before the exchange.
    copy, _ = scene.to_promoted(answers=True)
    other = sleeper(scene, scene.target.postgres.volume)
    volumes = Path(scene.engine.root()) / "volumes"
    one, two = (volumes / name / "_data" for name in (scene.target.postgres.volume, copy.volume))
    aside = volumes / copy.volume / "aside"
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    scene.swapping._keeper(scene.swap_order(copy.volume))
    with pytest.raises(Refused, match="has the directory of"):
        release(scene)
    scene.engine.remove(other.id, force=True)
    assert release(scene).volumes == (copy.volume,)


@pytest.mark.long
def test_a_restored_volume_is_not_released_before_it_was_swapped_in(scene: Scene) -> None:
    copy, _ = scene.to_promoted(answers=True)
    with pytest.raises(Refused, match="nothing-kept"):
        release(scene)
    assert scene.engine.volume(copy.volume) is not None


def test_a_failed_attempt_is_discarded_and_leaves_the_server_alone(scene: Scene) -> None:
    scene.restore(1)
    copy = scene.follow(1)
    assert discard(scene, copy.volume).volumes == (copy.volume,)
    assert scene.engine.look(container_name(scene.rid, "copy")) is None
    assert scene.engine.volume(copy.volume) is None
    assert discard(scene, copy.volume).volumes == ()
    scene.restore(2)
    scene.follow(2)
    assert len(discard(scene).volumes) == 1
    assert scene.server.ask("SELECT 1") == 1


@pytest.mark.long
def test_a_server_on_another_timeline_or_read_only_is_not_taken_for_serving(scene: Scene) -> None:
    assert scene.serve(1).timeline == 1
    with pytest.raises(VerificationFailed, match="timeline-unexpected"):
        scene.serve(2)
    scene.kill_server()
    (scene.server.volume_path / "standby.signal").touch()
    with pytest.raises(VerificationFailed, match="server-read-only"):
        scene.serve(1)
    with pytest.raises(psycopg.Error):
        scene.server.do("CREATE TABLE anything ()")


def test_a_recovery_that_kept_nothing_has_nothing_to_release(engine: Engine, state: Path) -> None:
    releasing = Releasing(engine, Tokens(state), state)
    with pytest.raises(Refused, match="nothing-kept"):
        releasing.ensure_released(ReleaseOrder(release_of="20200101T0000Z-00000000"))
    with pytest.raises(Refused, match="nothing-kept"):
        releasing.ensure_released(ReleaseOrder(release_of=""))
