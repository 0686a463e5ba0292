"""Settings of a copy that must not be lower than the server's: it would stop, or pause in silence."""

from collections.abc import Mapping
from pathlib import Path

from activities import plain_files
from domain.order import Target
from domain.recovery import Copy

MAXIMA = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
"""What ``pg_controldata`` calls them, and their names as settings."""
_LIMIT_BYTES = 64 * 1024
FILE = "maxima"
"""Beside the copy's socket: a container cannot be given other arguments, so it reads them at each start."""


def number(text: str | None) -> int:
    """Return a whole number, or 0 for anything else."""
    return int(text) if text and text.isdigit() else 0


def greatest(*controls: Mapping[str, str]) -> dict[str, int]:
    """Return the greatest of each setting that these control files know."""
    return {
        setting: max(number(control.get(name)) for control in controls) for name, setting in MAXIMA.items()
    }


def write(copy: Copy, target: Target, settings: Mapping[str, str | int]) -> bool:
    """Have the copy start with these, none lower than it has; return whether that raises any."""
    path = Path(copy.socket_dir) / FILE
    before = read(copy)
    after = {name: max(number(str(value)), before.get(name, 0)) for name, value in settings.items()}
    if after == before:
        return False
    text = "".join(f"--{name}={value}\n" for name, value in sorted(after.items()))
    plain_files.own(path.parent, target.postgres.uid, target.postgres.gid)
    plain_files.replace(path, text.encode(), mode=0o400)
    return True


def read(copy: Copy) -> dict[str, int]:
    """Return what the copy starts with; nothing before its first start."""
    path = Path(copy.socket_dir) / FILE
    try:
        words = plain_files.read(path, _LIMIT_BYTES).decode(errors="replace").split()
    except OSError:
        words = []
    known = (word[2:].partition("=") for word in words)
    return {name: number(value) for name, _, value in known if name in MAXIMA.values()}
