"""The object store: is its process alive, and does it list buckets to the one with its keys."""

import httpx
import urllib3
from minio import Minio
from minio.error import MinioException

from domain.recovery import Proof

_SECONDS = 3.0


def probe(name: str, host: str, port: int, access_key: str | None, secret_key: str | None) -> Proof:
    """Return whether the live endpoint answers and S3 lists the buckets.

    Without keys the listing is not made, and the proof says so with ``passed=None``.
    """
    try:
        live = httpx.get(f"http://{host}:{port}/minio/health/live", timeout=_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        return Proof(name=name, passed=False, evidence=f"live: {type(error).__name__}")
    if live.status_code != httpx.codes.OK:
        return Proof(name=name, passed=False, evidence=f"live: status {live.status_code}")
    if not access_key or not secret_key:
        return Proof(name=name, passed=None, evidence="live; buckets not listed: no keys are named")
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(_SECONDS), retries=False)
    store = Minio(
        f"{host}:{port}",
        access_key=access_key,
        secret_key=secret_key,
        secure=False,
        http_client=pool,
        # Named, so that the client does not ask for it first.
        region="us-east-1",
    )
    try:
        buckets = store.list_buckets()
    except (MinioException, urllib3.exceptions.HTTPError, ValueError) as error:
        code = getattr(error, "code", None) or type(error).__name__
        return Proof(name=name, passed=False, evidence=f"listing buckets: {code}")
    finally:
        pool.clear()
    return Proof(name=name, passed=True, evidence=f"live, {len(buckets)} buckets listed")
