"""Puts the fixture's objects into the object store."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import psycopg
from minio import Minio

from infra.images.build import Progress
from infra.lab.seed import object_bytes

BUCKETS = ("uploads", "public", "private", "temp", "recordings")


def put_seeded_objects(store: Minio, dsn: str, progress: Progress) -> int:
    """Make the buckets and store an object for each seeded attachment; returns how many were missing."""
    for bucket in BUCKETS:
        if not store.bucket_exists(bucket):
            store.make_bucket(bucket)
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT id::text, file_path, size_bytes FROM nchat_attachments"
            " WHERE file_path LIKE 'uploads/seed/%'"
        ).fetchall()
    there = {
        f"uploads/{found.object_name}"
        for found in store.list_objects("uploads", prefix="seed/", recursive=True)
    }
    missing = [row for row in rows if row[1] not in there]
    progress(f"storing {len(missing)} objects", None)
    with ThreadPoolExecutor(max_workers=4) as threads:
        list(threads.map(lambda row: _put(store, *row), missing))
    return len(missing)


def _put(store: Minio, key: str, path: str, size: int) -> None:
    bucket, _, name = path.partition("/")
    store.put_object(bucket, name, io.BytesIO(object_bytes(key, size)), size)
