"""Images are looked for before trouble, and are what they were, whatever a tag says."""

import pytest

from domain.incident import StatusView
from tests.e2e.stand import Stand, until
from tests.e2e.witness import Host
from tests.faults.record import Seen


def parked(stand: Stand) -> StatusView | None:
    view = stand.look()
    return view if view is not None and view.state == "needs_human" else None


@pytest.mark.fault("B12", at_length=True)
def test_a_missing_tools_image_parks_the_recovery_before_anything_is_stopped(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-B12: image missing, registry down; nothing is pulled in the middle of a recovery."""
    services = host.services()
    damaged.restart_worker(DR_TOOLS_IMAGE="dr-tools:there-is-none")
    try:
        doctor = damaged.dr("doctor").data
        assert {p["name"]: p["passed"] for p in doctor["proofs"]}["tools image"] is False
        damaged.recover()
        view = until(lambda: parked(damaged), "it parks")
        assert "tools image" in view.parked_reason
        seen(view.parked_reason)
        assert host.services() == services
        damaged.end_open_run()
        assert host.leftovers() == []
    finally:
        damaged.restart_worker()


@pytest.mark.fault("B12", at_length=True)
def test_a_tag_that_was_moved_to_another_image_changes_nothing_in_a_recovery(
    damaged: Stand, host: Host, seen: Seen
) -> None:
    """F-B12: tag moved; images are pinned by what the container runs."""
    image = damaged.target().postgres.image_id
    client = damaged.client
    tags = client.images.get(image).tags
    assert tags
    other = client.images.get(damaged.lab.images().reference("redis"))
    try:
        for tag in tags:
            other.tag(*tag.rsplit(":", 1))
        assert client.images.get(tags[0]).id != image
        seen(f"{tags[0]} names another image now")
        report = damaged.to_the_end(damaged.recover())
        assert report["outcome"] == "recovered", report["rule"]
        assert damaged.target().postgres.image_id == image
        assert host.leftovers() == []
    finally:
        for tag in tags:
            client.images.get(image).tag(*tag.rsplit(":", 1))
