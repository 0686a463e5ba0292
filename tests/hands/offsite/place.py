"""A shelf with entries of several stores, and the hands that copy it to a bucket and back."""

import hashlib
import json
import random
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, cast

from activities.backup_keys import BackupKeys
from activities.engine import Engine
from activities.offsite import OffsiteCopies
from activities.offsite_fetch import OffsiteFetching
from activities.offsite_list import OffsiteListing
from activities.offsite_ready import OffsiteReadiness
from activities.offsite_side import FarAddress, FarSide
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.backups import Backup, Level
from domain.offsite import OffsitePolicy
from domain.offsite_copies import CopiedOffsite, CopyOrder, Fetched, FetchOrder, OffsiteOrder
from domain.offsite_look import ListFarOrder, OffsiteList
from domain.order import Target, Token
from domain.recovery import Judged
from tests.hands.offsite.hostile import Weather, until
from tests.hands.targets import bare_target
from worker.far_store import s3_client

ROOT = Path(__file__).parents[3]
MEBI = 1024 * 1024
NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
BASE = "20260301T010000Z-base"
DUMP = "20260301T020000Z-daily"
RDB = "20260301T000000Z-rdb"
CANARY = b"in clear, for everybody to read "
SEGMENT_BYTES = MEBI
SEGMENTS = tuple(f"0000000100000000000000{number:02X}" for number in range(4, 9))
KEYS = {"FAR_ACCESS": "access", "FAR_SECRET": "password-of-a-test"}


def some_bytes(size: int, seed: int) -> bytes:
    """Return bytes with a canary at the beginning of each MiB."""
    made = bytearray(random.Random(seed).randbytes(size))
    for at in range(0, size - len(CANARY), MEBI):
        made[at : at + len(CANARY)] = CANARY
    return bytes(made)


@dataclass
class Place:
    """One host: its shelf, its state, and the store that it copies to."""

    directory: Path
    endpoint: str
    bucket: str
    changes: dict[str, Any] = field(default_factory=dict)
    real: Target | None = None
    """A real server; without one only names matter."""

    @property
    def shelf(self) -> Path:
        """Return where backups lie."""
        return Path(self.real.shelf) if self.real else self.directory / "shelf"

    @property
    def keys(self) -> BackupKeys:
        """Return the keys."""
        return BackupKeys(self.directory / "state")

    @property
    def policy(self) -> OffsitePolicy:
        """Return the policy: what a store beside AWS takes, and what a test changes of it."""
        usual: dict[str, Any] = {
            "endpoint": self.endpoint,
            "bucket": self.bucket,
            "prefix": "copies",
            "access_key": "env:FAR_ACCESS",
            "secret_key": "env:FAR_SECRET",
            "storage_class": "STANDARD",
            "sse": "none",
            "part_size": 5 * MEBI,
        }
        return OffsitePolicy.model_validate(usual | self.changes)

    @property
    def target(self) -> Target:
        """Return the real target, or one of which only shelf, owner and names matter."""
        if self.real:
            return self.real
        return bare_target(self.shelf)

    @property
    def client(self) -> Any:
        """Return a client of the store for the test itself."""
        return _client(self.endpoint)

    def side(self) -> FarSide:
        """Return the way to the store."""
        secrets = Secrets(cast("Engine", None), KEYS)
        return FarSide(secrets, self.directory / "state", s3_client)

    def tokens(self) -> Tokens:
        """Return the tokens of this host."""
        return Tokens(self.directory / "state")

    def ready(self) -> Judged:
        """Make the bucket ready."""
        order = OffsiteOrder(target=self.target, policy=self.policy)
        return OffsiteReadiness(self.side(), self.tokens()).ensure_offsite_ready(order)

    def reach(self) -> Judged:
        """Look whether copies could be made."""
        order = OffsiteOrder(target=self.target, policy=self.policy)
        return OffsiteReadiness(self.side(), self.tokens()).observe_offsite_reach(order)

    def copy_order(self, attempt: int = 0) -> CopyOrder:
        """Return the order to copy; a later attempt has a greater number."""
        token = Token(run_started_ns=1, dispatched_ns=attempt) if attempt else Token()
        return CopyOrder(target=self.target, policy=self.policy, step_id="copy", token=token)

    def copy(self, attempt: int = 0) -> CopiedOffsite:
        """Copy the shelf."""
        order = self.copy_order(attempt)
        return OffsiteCopies(self.side(), self.tokens()).ensure_copied_offsite(order)

    def list(self, *, unlisted: bool = False) -> OffsiteList:
        """List the far side."""
        return OffsiteListing(self.side()).observe_offsite(
            ListFarOrder(target=self.target, policy=self.policy, unlisted=unlisted)
        )

    def fetch(self, entry_id: str = "", *, wal: bool = True) -> Fetched:
        """Bring an entry back."""
        order = FetchOrder(target=self.target, policy=self.policy, entry_id=entry_id, wal=wal)
        return OffsiteFetching(self.side(), self.tokens()).ensure_fetched(order)

    def far(self) -> dict[str, int]:
        """Return the objects on the far side with their sizes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents") or []}

    def key_of(self, entry_id: str, path: str) -> str:
        """Return the name of the object of one file."""
        (found,) = (key for key in self.far() if f"/{entry_id}/files/{path}" in key)
        return found


@cache
def _client(endpoint: str) -> Any:
    return s3_client(FarAddress(endpoint, "us-east-1", KEYS["FAR_ACCESS"], KEYS["FAR_SECRET"]))


def fill(place: Place) -> None:
    """Put a base backup, a dump, an RDB file, WAL, and what must stay here on the shelf."""
    base(place)
    entry(
        place, "postgres", "daily", DUMP, {"nchat.dump": some_bytes(12 * MEBI + 5, 1), "globals.sql": CANARY}
    )
    entry(
        place,
        "redis",
        "rdb",
        RDB,
        {"dump.rdb": some_bytes(70_000, 2), "left.tmp": b"x"},
        listed=("dump.rdb",),
    )
    archive = place.shelf / "postgres" / "wal" / "0001"
    archive.mkdir(parents=True)
    for number, name in enumerate(SEGMENTS):
        (archive / name).write_bytes(some_bytes(SEGMENT_BYTES, number))
    (archive / "00000002.history").write_bytes(b"1\t0/700000\tno recovery target specified\n")
    (archive / "000000010000000000000009.partial").write_bytes(b"x")
    unfinished = place.shelf / "redis" / "rdb" / ".20260301T030000Z-rdb.partial"
    unfinished.mkdir()
    (unfinished / "dump.rdb").write_bytes(CANARY)
    (place.shelf / "redis" / "rdb" / "a stranger").mkdir()
    (place.shelf / "postgres" / ".pgpass").write_bytes(b"*:*:*:postgres:secret\n")


def base(place: Place, entry_id: str = BASE) -> Path:
    """Put a base backup on the shelf: its files, its empty directories, its manifest, its entry."""
    root = place.shelf / "postgres" / "base" / entry_id
    files = {
        "PG_VERSION": b"17\n",
        "base/1/1259": some_bytes(300_000, 3),
        "base/1/2619": b"",
        "base/5/16384": some_bytes(3 * MEBI // 2, 4),
        "global/pg_control": some_bytes(8192, 5),
        "base/5/listed.tmp": CANARY,
    }
    for path, content in files.items():
        (root / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "data" / path).write_bytes(content)
    for name in ("pg_notify", "pg_wal/archive_status", "pg_tblspc"):
        (root / "data" / name).mkdir(parents=True)
    (root / "data" / "base" / "5" / "junk.tmp").write_bytes(b"x")
    listed = [
        {
            "Path": path,
            "Size": len(content),
            "Checksum-Algorithm": "SHA256",
            "Checksum": hashlib.sha256(content).hexdigest(),
        }
        for path, content in files.items()
    ]
    (root / "data" / "backup_manifest").write_text(json.dumps({"Files": listed}))
    backup = Backup(
        id=entry_id,
        path=f"postgres/base/{entry_id}/data",
        started_at=NOW,
        ended_at=NOW,
        bytes=2 * MEBI,
        system_identifier="7",
        server_version="17.1",
        image_id=place.target.postgres.image_id,
        timeline=1,
        start_lsn="0/500028",
        stop_lsn="0/500100",
        start_segment=SEGMENTS[1],
        verified=Level.MANIFEST,
        wal_segment_bytes=SEGMENT_BYTES,
    )
    (root / "dr.json").write_text(backup.model_dump_json())
    return root


def entry(
    place: Place,
    store: str,
    kind: str,
    entry_id: str,
    files: dict[str, bytes],
    *,
    listed: tuple[str, ...] = (),
) -> Path:
    """Put an entry of any store on the shelf."""
    root = place.shelf / store / kind / entry_id
    root.mkdir(parents=True)
    for path, content in files.items():
        (root / path).write_bytes(content)
    recorded = [
        {"path": path, "bytes": len(files[path]), "sha256": hashlib.sha256(files[path]).hexdigest()}
        for path in listed or files
    ]
    said = {"id": entry_id, "store": store, "kind": kind, "files": recorded, "ended_at": NOW.isoformat()}
    (root / "dr.json").write_text(json.dumps(said))
    return root


def kill_while_held(place: Place, endpoint: str, weather: Weather, what: str) -> None:
    """Start ``copy`` or ``fetch`` in a process, and kill it when one of its requests is held."""
    argv = [
        *(sys.executable, "-m", "tests.hands.offsite.copying"),
        *(what, str(place.directory), endpoint, place.bucket),
    ]
    process = subprocess.Popen(argv, cwd=ROOT)
    try:
        until(lambda: weather.holding.is_set() or process.poll() is not None)
        assert process.poll() is None, "it ended before it was held"
    finally:
        process.kill()
        assert process.wait(30) == -9
    weather.released.set()


def tree(path: Path) -> dict[str, bytes | None]:
    """Return everything below a directory: content of files, ``None`` for directories."""
    return {
        str(one.relative_to(path)): one.read_bytes() if one.is_file() else None for one in path.rglob("*")
    }
