"""What every host has of its own, and what only looks like it."""

import pytest

from domain.host_own import host_has, named_by, plain_path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/proc",
        "/proc/1/ns",
        "/sys/fs/cgroup",
        "/dev/dri",
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/udev",
        "/etc/localtime",
        "/etc/timezone",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/var/lib/docker/containers",
        "/lib/modules/",
        "/etc/../proc",
    ],
)
def test_what_every_host_has_is_its_own(path: str) -> None:
    assert host_has(path)


@pytest.mark.parametrize(
    "path",
    [
        "/etc",
        "/etc/letsencrypt",
        "/etc/hosts.d/ours",
        "/etc/ssl/private/key.pem",
        "/run/secrets/key",
        "/var/run/secrets/key",
        "/process",
        "/devices/key",
        "/proc/../etc/letsencrypt",
        "/srv/proc",
        "/opt",
    ],
)
def test_what_somebody_put_there_is_not(path: str) -> None:
    assert not host_has(path)


def test_a_place_names_itself_and_what_lies_below_it() -> None:
    assert named_by("/etc/letsencrypt/live", ("/srv", "/etc/letsencrypt/"))
    assert named_by("/var/run/ours", ("/run/ours",))
    assert not named_by("/etc/letsencrypt2", ("/etc/letsencrypt",))
    assert plain_path("//etc//x/../y/") == "/etc/y"
