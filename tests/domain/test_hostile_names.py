"""Names that are paths, commands or options: refused by their words, before anything is opened or started."""

import pytest
from pydantic import ValidationError

from activities.job import Job, image_operand, operand
from domain.errors import Refused
from domain.incident import RecoveryRequest
from domain.paths import host_path, one_part, path_under
from tests.faults.record import Seen
from workflows.backup import BackupRequest, VerifyRequest
from workflows.release import DiscardRequest, ReleaseRequest

ESCAPES = [
    "../../etc/passwd",
    "/etc/passwd",
    "a/../../b",
    "a/..",
    "..",
    "a//b",
    "a/./b",
    "%2e%2e/%2e%2e/etc",
    "..\\..\\etc",
    "a\x00b",
    "\uff0e\uff0e/etc",
    "a/b/",
    "",
    "a" * 2000,
]
COMMANDS = [
    "x; rm -rf /",
    "$(id)",
    "`id`",
    "x && id",
    "x|id",
    "x\nid",
    "x'y",
    'x"y',
    "x y",
    "../images/x",
    "a/b",
]
OPTIONS = ["--privileged", "-v/:/host", "-h evil", "--mount=type=bind", "-"]


@pytest.mark.fault("K1")
@pytest.mark.parametrize("path", ESCAPES, ids=repr)
def test_a_path_that_could_lead_out_of_its_directory_is_refused(path: str, seen: Seen) -> None:
    """F-K1: dots, absolute paths and encoded dots in the place of a path."""
    with pytest.raises(Refused) as refused:
        path_under("/srv/shelf", path)
    assert refused.value.code == "path-escapes"
    with pytest.raises(Refused):
        one_part(path)
    seen(f"refused: {refused.value.what}")


def test_a_path_of_the_catalogue_stays_below_the_shelf() -> None:
    path = path_under("/srv/shelf", "postgres/base/20261122T043000Z-base/data")
    assert str(path) == "/srv/shelf/postgres/base/20261122T043000Z-base/data"
    assert str(path_under("/srv/shelf", "postgres/base/.20261122T043000Z-base.partial")).endswith(".partial")


@pytest.mark.fault("K1")
@pytest.mark.parametrize(
    "path", ["/srv/../etc", "/", "/etc", "/proc/1/root", "/srv/a:/etc", "/srv/a\nb", "/srv/$(id)"]
)
def test_a_host_path_that_is_not_plain_is_never_mounted(path: str, seen: Seen) -> None:
    """F-K1: a host path that means another place, or that Docker would cut at a colon."""
    with pytest.raises(Refused) as refused:
        host_path(path, "the shelf")
    assert refused.value.code == "path-escapes"
    with pytest.raises(Refused):
        Job(name="dr-x", image_id="sha256:1", command=(), binds={path: "/x:ro"})
    seen(f"refused: {refused.value.what}")


@pytest.mark.fault("K3")
@pytest.mark.parametrize("name", COMMANDS, ids=repr)
def test_a_command_in_the_place_of_a_name_is_no_name(name: str, seen: Seen) -> None:
    """F-K3: shell syntax in the place of a container, a volume, a backup or a recovery."""
    with pytest.raises(Refused) as refused:
        operand(name)
    assert refused.value.code == "docker-name"
    with pytest.raises(Refused):
        Job(name=name, image_id="sha256:1", command=())
    with pytest.raises(Refused):
        Job(name="dr-x", image_id="sha256:1", command=(), binds={name: "/x:rw"})
    for made in (
        lambda: RecoveryRequest(stack=name),
        lambda: BackupRequest(stack=name),
        lambda: VerifyRequest(backup_id=name),
        lambda: ReleaseRequest(recovery_id=name),
        lambda: DiscardRequest(stack=name),
    ):
        with pytest.raises(ValidationError) as error:
            made()
        assert name not in str(error.value)
    seen(f"refused: {refused.value.what}")


@pytest.mark.fault("K4")
@pytest.mark.parametrize("name", OPTIONS, ids=repr)
def test_an_option_in_the_place_of_a_name_is_no_name(name: str, seen: Seen) -> None:
    """F-K4: an option in the place of a name, an image, a volume or a file."""
    for judge in (operand, image_operand, one_part):
        with pytest.raises(Refused):
            judge(name)
    with pytest.raises(Refused):
        Job(name="dr-x", image_id="sha256:1", command=(), binds={name: "/x:rw"})
    with pytest.raises(ValidationError):
        RecoveryRequest(stack=name)
    with pytest.raises(ValidationError):
        VerifyRequest(backup_id=name)
    seen(f"refused as an operand: {name}")


@pytest.mark.parametrize("inside", ["/x", "x:ro", "/x:rw,z", "/x:/y:ro", "/x/../etc:ro", "/x\n:ro", ":ro"])
def test_a_mount_says_where_and_how_and_nothing_else(inside: str) -> None:
    with pytest.raises(Refused):
        Job(name="dr-x", image_id="sha256:1", command=(), binds={"volume": inside})


@pytest.mark.parametrize(
    "name", ["sha256:062243a75aa4", "dr-tools", "registry.example/a/b:1.2", "x@sha256:0"]
)
def test_the_names_that_images_have_are_names(name: str) -> None:
    assert image_operand(name) == name
