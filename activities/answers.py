"""HTTP answers of services, read to a limit: a service that never stops answering must not stop us (F-K7)."""

import time

import httpx

LIMIT_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 64 * 1024
_LIMIT_SECONDS = 30.0
_DECODED = {"content-encoding", "content-length", "transfer-encoding"}


class AnswerTooLarge(httpx.HTTPError):
    """The answer is larger or slower than anything that a person would wait for."""


def ask(
    client: httpx.Client,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    content: bytes | None = None,
    limit_bytes: int = LIMIT_BYTES,
) -> httpx.Response:
    """Return the whole answer; it counts as it is unpacked, so that a small packed one cannot fill memory.

    Raises ``httpx.HTTPError``: ``AnswerTooLarge`` past the limit of bytes or of half a minute.
    """
    deadline = time.monotonic() + _LIMIT_SECONDS
    body = bytearray()
    with client.stream(method, path, headers=headers, content=content) as answer:
        for chunk in answer.iter_bytes(_CHUNK_BYTES):
            body += chunk
            if len(body) > limit_bytes or time.monotonic() > deadline:
                raise AnswerTooLarge(f"more than {limit_bytes} bytes or {_LIMIT_SECONDS:.0f} s")
    kept = [(key, value) for key, value in answer.headers.multi_items() if key not in _DECODED]
    return httpx.Response(answer.status_code, headers=kept, content=bytes(body), request=answer.request)


def json_in(answer: httpx.Response) -> object:
    """Return what the answer says in JSON, or ``None``; brackets without end are no JSON either."""
    try:
        found: object = answer.json()
    except (ValueError, RecursionError):
        return None
    return found
