"""The three S3 calls that a function needs, signed with version 4 signatures."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import aiohttp

REGION = "us-east-1"


class ObjectStoreError(Exception):
    """The object store refused or did not answer."""


def sign(method: str, url: str, body: bytes, access: str, secret: str) -> dict[str, str]:
    """Return the headers that sign one request."""
    now = datetime.now(UTC)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    parts = urlsplit(url)
    content = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": content, "x-amz-date": stamp}
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        [
            method,
            parts.path,
            parts.query,
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            content,
        ]
    )
    scope = f"{day}/{REGION}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    credential = f"Credential={access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {**headers, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}


class ObjectStore:
    """Objects of one store, named ``bucket/key``."""

    def __init__(self, url: str, access: str, secret: str) -> None:
        self._url, self._access, self._secret = url.rstrip("/"), access, secret

    async def put(self, path: str, body: bytes) -> None:
        """Store an object; the bucket is made when it is missing."""
        status = await self._call("PUT", path, body)
        if status[0] == 404:  # noqa: PLR2004 - HTTP
            await self._call("PUT", path.partition("/")[0], b"")
            status = await self._call("PUT", path, body)
        if status[0] != 200:  # noqa: PLR2004 - HTTP
            raise ObjectStoreError(f"PUT answered {status[0]}")

    async def get(self, path: str) -> bytes | None:
        """Return an object, or None when it is not there."""
        status, body = await self._call("GET", path, b"")
        if status == 404:  # noqa: PLR2004 - HTTP
            return None
        if status != 200:  # noqa: PLR2004 - HTTP
            raise ObjectStoreError(f"GET answered {status}")
        return body

    async def _call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        url = f"{self._url}/{quote(path)}"
        headers = sign(method, url, body, self._access, self._secret)
        timeout = aiohttp.ClientTimeout(total=5, connect=2)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, data=body or None, headers=headers) as said,
            ):
                return said.status, await said.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ObjectStoreError(str(error)) from error
