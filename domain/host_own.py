"""What services mount and every host has of its own: it is no configuration of a stack. Pure."""

import posixpath

_TREES = (
    "/boot",
    "/dev",
    "/etc/ca-certificates",
    "/etc/ssl/certs",
    "/lib/modules",
    "/proc",
    "/run/dbus",
    "/run/docker",
    "/run/systemd",
    "/run/udev",
    "/sys",
    "/usr/lib/modules",
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo",
    "/usr/src",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/log",
)
"""They, and all below them."""
_ALONE = {
    "/",
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/machine-id",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/etc/timezone",
    "/run",
    "/run/containerd/containerd.sock",
    "/run/docker.sock",
}
"""They alone: what lies below is judged by itself. A socket is the host's wherever it lies."""
_RUN, _FORMER_RUN = "/run", "/var/run"


def plain_path(path: str) -> str:
    """Return an absolute path without detours; ``/var/run`` is a link to ``/run`` on every host."""
    found = posixpath.normpath(path).replace("//", "/")
    return _RUN + found.removeprefix(_FORMER_RUN) if _below(found, _FORMER_RUN) else found


def host_has(path: str) -> bool:
    """Tell whether every host has this path of its own."""
    found = plain_path(path)
    return found in _ALONE or any(_below(found, tree) for tree in _TREES)


def named_by(path: str, places: tuple[str, ...]) -> bool:
    """Tell whether a path is one of these places or lies below one."""
    return any(_below(plain_path(path), plain_path(place)) for place in places)


def _below(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/")
