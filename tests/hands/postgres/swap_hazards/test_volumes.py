"""Volumes whose names lie, an exchange that undoes itself, and two servers on one directory."""

import threading

import pytest

from domain.errors import DrError, Refused, Unavailable
from domain.names import LABEL_RECOVERY, container_name, volume_name
from domain.recovery import ServeOrder
from domain.release import ReleaseOrder
from tests.hands.postgres.scene import Scene
from tests.hands.postgres.swap_hazards.naive import (
    container,
    data_of,
    exchanged_by_hand,
    server_on,
    sleeper,
    until,
)

_SPARES_NAMED = (1, 42)


@pytest.mark.swap_hazard(3)
def test_no_second_postmaster_ever_gets_at_the_live_or_the_restored_data(scene: Scene) -> None:
    """Row 3 of what bites in a swap: two postmasters on one PGDATA start and both write."""
    copy, _ = scene.to_promoted(answers=True)
    second = server_on(scene, copy.volume).wait()
    third = server_on(scene, copy.volume).wait()
    second.ask("INSERT INTO users VALUES (3001, 'second') RETURNING id")
    third.ask("INSERT INTO users VALUES (3002, 'third') RETURNING id")
    assert second.ask("SELECT count(*) FROM users WHERE id > 3000") == 1
    assert third.ask("SELECT count(*) FROM users WHERE id > 3000") == 1
    second.remove()
    third.remove()

    # The hands: the copy comes back by nothing, and nothing is exchanged beside anybody.
    assert scene.engine.look(container_name(scene.rid, "copy")) is None
    live = scene.target.postgres.volume
    for volume in (live, copy.volume):
        other = sleeper(scene, volume)
        with pytest.raises(Refused, match="volume-in-use"):
            scene.swap(copy.volume)
        scene.server.client.api.pause(other.id)
        with pytest.raises(Refused, match="volume-in-use"):
            scene.swap(copy.volume)
        scene.server.client.api.unpause(other.id)
        other.remove()
    failing = container(scene, ("false",), {live: "/mnt:rw"}, restart="always")
    until(lambda: failing.state().status == "restarting", "it does not restart")
    with pytest.raises(Refused, match="volume-in-use"):
        scene.swap(copy.volume)
    order = ServeOrder(recovery_id=scene.rid, target=scene.target, expected_timeline=2, slot=scene.slot)
    with pytest.raises(Refused, match="volume-in-use"):
        scene.starting.ensure_serving(order)
    failing.remove()
    neighbour = sleeper(scene, f"{live}_of_another")
    (data_of(scene, copy.volume) / "postmaster.pid").unlink(missing_ok=True)
    scene.swap(copy.volume)
    neighbour.remove()
    scene.server.client.api.remove_volume(f"{live}_of_another")


@pytest.mark.swap_hazard(3, at_length=True)
def test_the_copy_is_not_started_beside_another_server_on_its_volume(scene: Scene) -> None:
    """Row 3 of what bites in a swap: a restored volume that somebody started by hand is not ours alone."""
    volume = scene.restore(1).volume
    other = server_on(scene, volume)
    with pytest.raises(Refused, match="volume-in-use"):
        scene.follow(1)
    other.remove()


@pytest.mark.swap_hazard(4)
def test_an_exchange_asked_for_again_and_again_is_done_once(scene: Scene) -> None:
    """Row 4 of what bites in a swap: the exchange is its own inverse; a second one puts the damage back."""
    copy, _ = scene.to_promoted(answers=True)
    live = scene.target.postgres.volume
    damaged, restored = scene.inode(live), scene.inode(copy.volume)
    exchanged_by_hand(scene, live, copy.volume)
    assert scene.inode(live) == restored
    exchanged_by_hand(scene, live, copy.volume)
    assert scene.inode(live) == damaged

    trouble: list[BaseException] = []

    def attempt() -> None:
        try:
            scene.swap(copy.volume)
        except DrError as error:
            trouble.append(error)

    racing = [threading.Thread(target=attempt) for _ in range(2)]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join(60)
    for _ in range(2):
        scene.swap(copy.volume)
        assert (scene.inode(live), scene.inode(copy.volume)) == (restored, damaged)
    assert all(isinstance(error, Unavailable) for error in trouble), trouble


def pruned(scene: Scene) -> set[str]:
    """Prune the unused volumes of this recovery alone; newer engines spare named ones unless told."""
    api = scene.server.client.api
    wanted: dict[str, object] = {"label": f"{LABEL_RECOVERY}={scene.rid}"}
    if tuple(int(part) for part in str(api.api_version).split(".")) >= _SPARES_NAMED:
        wanted["all"] = "true"
    return set(api.prune_volumes(wanted)["VolumesDeleted"] or [])


@pytest.mark.swap_hazard(14)
def test_a_kept_volume_is_neither_pruned_nor_emptied_under_a_container_that_has_it(
    scene: Scene,
) -> None:
    """Row 14 of what bites in a swap: volume names lie while containers run."""
    engine, labels = scene.engine, {LABEL_RECOVERY: scene.rid}
    live, other = f"{scene.target.stack}-live", f"{scene.target.stack}-other"
    for name in (live, other):
        engine.ensure_volume(name, labels)
        (data_of(scene, name) / "whose").write_text(name)
    unused = volume_name(scene.rid, "postgres", 9)
    engine.ensure_volume(unused, labels)
    ran = sleeper(scene, live)
    holder = container(scene, ("true",), {other: "/mnt:ro"})
    exchanged_by_hand(scene, live, other)
    assert ran.run("cat", "/mnt/whose").output == live
    again = sleeper(scene, live)
    assert again.run("cat", "/mnt/whose").output == other
    assert pruned(scene) == {unused}
    holder.remove()
    engine.remove_volume(other)
    assert ran.run("ls", "/mnt").output.strip() == ""
    for plain in (ran, again):
        plain.remove()
    engine.remove_volume(live)

    # The hands: the keeper holds it against prune and rm, and the release looks at real mounts.
    scene.kill_server()
    kept = scene.restore(1).volume
    engine.remove(container_name(scene.rid, "restore"), force=True)
    scene.swapping._keeper(scene.swap_order(kept))
    stale = sleeper(scene, scene.target.postgres.volume)
    exchanged_by_hand(scene, scene.target.postgres.volume, kept)
    assert pruned(scene) == set()
    with pytest.raises(Refused, match="in use"):
        engine.remove_volume(kept)
    with pytest.raises(Refused, match="volume-live"):
        scene.releasing.ensure_released(ReleaseOrder(release_of=scene.rid))
    assert stale.run("test", "-e", "/mnt/PG_VERSION").exit_code == 0
    stale.remove()
    assert scene.releasing.ensure_released(ReleaseOrder(release_of=scene.rid)).volumes == (kept,)


@pytest.mark.swap_hazard(14, at_length=True)
def test_the_restart_policy_is_recorded_before_it_is_changed_and_comes_back_with_the_server(
    scene: Scene,
) -> None:
    """Row 14 of what bites in a swap: a policy ``always`` revives a container that was stopped by hand."""
    scene.engine.set_restart(scene.target.postgres.container_id, "always")
    copy, promoted = scene.to_promoted(answers=True)

    def policy() -> str:
        found = scene.engine.look(scene.target.postgres.container_id)
        assert found is not None
        return str(found.raw["HostConfig"]["RestartPolicy"]["Name"])

    assert policy() == "no"
    scene.swap(copy.volume)
    recorded = scene.fence().restart_policy
    assert recorded == "always"
    order = ServeOrder(
        recovery_id=scene.rid,
        target=scene.target,
        expected_timeline=promoted.timeline,
        slot=scene.slot,
        restart_policy=recorded,
    )
    scene.starting.ensure_serving(order)
    assert policy() == "always"
