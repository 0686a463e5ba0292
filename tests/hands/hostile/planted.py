"""A shelf on disk with entries as ``dr`` writes them, and a place beside it that must never be touched."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from activities import catalogue
from domain.backups import Backup, Level
from domain.order import PostgresTarget, Target

NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
SECRET = "root:x:0:0: the secret of another place"


class _Untouched:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def untouched() -> Any:
    """Return what stands for a client that must not be asked for anything."""
    return _Untouched()


@dataclass(frozen=True)
class Planted:
    """A shelf and the forbidden place beside it."""

    shelf: Path
    outside: Path

    @property
    def base(self) -> Path:
        return self.shelf / catalogue.BASE

    def backup(self, name: str, **other: object) -> Backup:
        """Put a backup with its entry on the shelf."""
        data = self.base / name / catalogue.DATA
        data.mkdir(parents=True)
        (data / "PG_VERSION").write_text("17\n")
        made = entry(name, **other)
        catalogue.write_entry(data.parent, made)
        return made

    def names(self) -> list[str]:
        return [backup.id for backup in catalogue.list_backups(self.shelf)]

    def reasons(self) -> dict[str, str]:
        return {one.id: one.reason for one in catalogue.read_catalogue(self.shelf)[1]}

    def forbidden(self) -> dict[str, tuple[bytes, int, int, int]]:
        """Return everything outside with content, owner, mode and time of change."""
        found = {}
        for path in sorted(self.outside.rglob("*")):
            seen = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[path.name] = (content, seen.st_uid, seen.st_mode, seen.st_mtime_ns)
        return found


def planted(root: Path) -> Planted:
    """Make the shelf and the forbidden place."""
    made = Planted(root / "shelf", root / "outside")
    made.base.mkdir(parents=True)
    (made.outside / "data").mkdir(parents=True)
    (made.outside / "passwd").write_text(SECRET)
    (made.outside / "data" / "PG_VERSION").write_text("17\n")
    return made


def entry(name: str, **other: object) -> Backup:
    """Return the entry of a backup."""
    values: dict[str, object] = {
        "id": name,
        "path": str(catalogue.BASE / name / catalogue.DATA),
        "started_at": NOW,
        "ended_at": NOW,
        "bytes": 1,
        "system_identifier": "1",
        "server_version": "17.0",
        "image_id": "sha256:1",
        "timeline": 1,
        "start_lsn": "0/1000028",
        "stop_lsn": "0/1000100",
        "start_segment": "000000010000000000000001",
        "verified": Level.MANIFEST,
    }
    return Backup.model_validate(values | other)


def target_on(shelf: str, stack: str = "shop") -> Target:
    """Return a target of which only the shelf matters."""
    server = PostgresTarget(
        service="postgres",
        container_id="c0ffee",
        container_name="shop_db",
        image_id="sha256:1",
        volume="shop_data",
        mount_path="/var/lib/postgresql/data",
        pgdata="/var/lib/postgresql/data",
        uid=os.getuid(),
        gid=os.getgid(),
    )
    return Target(stack=stack, project="shop", postgres=server, services=(), shelf=shelf)
