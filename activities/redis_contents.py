"""What a server of ours holds: keys counted, some of them read in a way that no version of Redis changes.

``DUMP`` would be shorter, but what it returns depends on the version and on how a value happens to be
packed. So a value is read by its own type, and what has no order is sorted.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.pulse import beat
from activities.redis_server import RedisServer
from domain.holdings import SAMPLES, Holding, Sample, compare_holdings
from domain.recovery import Proof
from domain.redis_backups import Census, key_of, spelled

_PAGE = 1000
_MOST_ELEMENTS = 20_000
"""A larger value is no sample: the others tell the same sooner."""
_MOST_BYTES = 16 * 1024 * 1024
_LOOKED_AT = 100 * SAMPLES
_CANDIDATES = 10 * SAMPLES
_LEAST_LEFT_MS = 60_000
"""What is over sooner would hardly ever be compared."""
_LONGEST_MS = 100 * 365 * 86_400_000
_EXPIRING = ", with a time to live"
_MAY_CHANGE_KEYS = ("total_commands_processed", "expired_keys", "evicted_keys")
_SIZES = {b"string": "STRLEN", b"list": "LLEN", b"hash": "HLEN", b"set": "SCARD", b"zset": "ZCARD",
          b"stream": "XLEN"}  # fmt: skip


def read_held(server: RedisServer, like: Iterable[Holding] = ()) -> tuple[Holding, ...]:
    """Return the keys of every database, and apart from them those that have a time to live.

    The samples are the keys that ``like`` has, else the first that a scan finds, which comes in the order
    of a hash; of keys with a time to live those that last longest among them.
    """
    known = {one.name: one.samples for one in like}
    found: list[Holding] = []
    for name, keys, expiring in sorted(_databases(server)):
        beat(f"reading what database {name} holds: {keys:,} keys")
        server.ask("SELECT", name.removeprefix("db"))
        samples = _again(server, known[name]) if name in known else _sampled(server, _persistent(server))
        found.append(Holding(name=name, count=keys, samples=samples))
        if expiring:
            mine = f"{name}{_EXPIRING}"
            samples = _again(server, known[mine]) if mine in known else _lasting(server)
            found.append(Holding(name=mine, count=expiring, samples=samples))
    return tuple(found)


def compared(
    server: RedisServer, recorded: Iterable[Holding]
) -> tuple[tuple[Holding, ...], tuple[Proof, ...]]:
    """Return what a server holds, and how that compares with a record.

    A key whose time is over by the server's clock cannot be read any more: it is counted alone.
    """
    held = read_held(server, like=recorded)
    read_by = datetime.fromtimestamp(server.seconds() + 1, UTC)
    return held, compare_holdings(recorded, held, at=read_by)


def keys_in(held: Iterable[Holding]) -> int:
    """Return how many keys there are in all databases."""
    return sum(one.count for one in held if not one.name.endswith(_EXPIRING))


def lasting_in(held: Iterable[Holding]) -> dict[str, int]:
    """Return how many keys of each database never expire."""
    counts = {one.name: one.count for one in held}
    return {
        name: count - counts.get(f"{name}{_EXPIRING}", 0)
        for name, count in counts.items()
        if not name.endswith(_EXPIRING)
    }


def census(server: RedisServer) -> Census:
    """Return how many keys a server has now, and how much it has done since it was started."""
    stats = server.info("stats")
    done = sum(int(stats.get(name, 0)) for name in _MAY_CHANGE_KEYS)
    return Census(keys=sum(keyspace(server).values()), done=done)


def keyspace(server: RedisServer) -> dict[str, int]:
    """Return how many keys each database has now."""
    return {name: keys for name, keys, _ in _databases(server)}


def _databases(server: RedisServer) -> Iterator[tuple[str, int, int]]:
    for name, said in server.info("keyspace").items():
        facts: Mapping[str, Any] = said
        yield name, int(facts["keys"]), int(facts["expires"])


def _persistent(server: RedisServer) -> Iterator[bytes]:
    """Yield keys that never expire and are small enough to be read, as many as are wanted."""
    given = looked = cursor = 0
    seen: set[bytes] = set()
    while True:
        cursor, keys = server.ask("SCAN", cursor, "COUNT", _PAGE)
        cursor = int(cursor)
        for key in keys:
            looked += 1
            if key not in seen and server.ask("PTTL", key) == -1 and _readable(server, key):
                seen.add(key)
                given += 1
                yield key
            if given == SAMPLES or looked > _LOOKED_AT:
                return
        if not cursor:
            return


def _lasting(server: RedisServer) -> tuple[Sample, ...]:
    """Return samples of the keys with a time to live: those that last longest of the ones looked at."""
    times: dict[bytes, int] = {}
    cursor = looked = 0
    while True:
        cursor, keys = server.ask("SCAN", cursor, "COUNT", _PAGE)
        cursor = int(cursor)
        for key in keys:
            looked += 1
            left = int(server.ask("PTTL", key))
            if left >= _LEAST_LEFT_MS and _readable(server, key):
                times[key] = left
        if not cursor or looked > _LOOKED_AT or len(times) >= _CANDIDATES:
            break
    chosen = heapq.nlargest(SAMPLES, times, key=lambda key: (times[key], key))
    found = []
    for sample in _sampled(server, chosen):
        left, now = int(server.ask("PTTL", key_of(sample.name))), server.seconds()
        if left > 0:
            # Never later than it is: what was read after its end would be compared with nothing.
            ends = datetime.fromtimestamp(now, UTC) + timedelta(milliseconds=min(left, _LONGEST_MS))
            found.append(sample.model_copy(update={"expires_at": ends}))
    return tuple(found)


def _again(server: RedisServer, samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return _sampled(server, (key_of(one.name) for one in samples))


def _sampled(server: RedisServer, keys: Iterable[bytes]) -> tuple[Sample, ...]:
    found = (Sample(name=spelled(key), digest=_digest(server, key)) for key in keys)
    return tuple(sorted(found, key=lambda one: one.name))


def _readable(server: RedisServer, key: bytes) -> bool:
    kind = _bytes(server.ask("TYPE", key))
    if kind not in _SIZES:
        return True
    size = int(server.ask(_SIZES[kind], key))
    return size <= (_MOST_BYTES if kind == b"string" else _MOST_ELEMENTS)


def _digest(server: RedisServer, key: bytes) -> str:
    kind = _bytes(server.ask("TYPE", key))
    whole = hashlib.sha256(kind)
    for part in _parts(server, kind, key):
        # With its length, so that two neighbours are not one that was cut elsewhere.
        whole.update(b"%d:" % len(part) + part)
    return whole.hexdigest()


def _parts(server: RedisServer, kind: bytes, key: bytes) -> Iterable[bytes]:
    """Return a value piece by piece; of a type that we do not know there is only its name."""
    read = _READERS.get(kind)
    return [] if read is None else read(server, key)


def _stream(server: RedisServer, key: bytes) -> list[bytes]:
    found = [_canonical(server.ask("XRANGE", key, "-", "+"))]
    for group in server.ask("XINFO GROUPS", key):
        facts = {_bytes(name): value for name, value in dict(group).items()}
        # Readers and what they lag behind are counted otherwise in each version.
        found += [_bytes(facts.get(name, b"")) for name in (b"name", b"last-delivered-id", b"pending")]
    return found


def _pairs(reply: object) -> list[tuple[bytes, bytes]]:
    if isinstance(reply, Mapping):
        return [(_bytes(name), _bytes(value)) for name, value in reply.items()]
    rows: list[Any] = list(reply) if isinstance(reply, Iterable) else []
    if rows and not isinstance(rows[0], list | tuple):
        rows = list(zip(rows[::2], rows[1::2], strict=True))
    return [(_bytes(name), _bytes(value)) for name, value in rows]


def _flat(pairs: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    return [part for pair in pairs for part in pair]


def _canonical(value: object) -> bytes:
    """Return nested replies as bytes, whatever the client made of them."""
    if isinstance(value, Mapping):
        value = [part for pair in value.items() for part in pair]
    if isinstance(value, list | tuple):
        parts = [_canonical(one) for one in value]
        return b"[" + b"".join(b"%d:" % len(part) + part for part in parts) + b"]"
    return _bytes(value)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return (repr(value) if isinstance(value, float) else str(value)).encode()


_READERS: Mapping[bytes, Callable[[RedisServer, bytes], Iterable[bytes]]] = {
    b"string": lambda server, key: [_bytes(server.ask("GET", key))],
    b"list": lambda server, key: [_bytes(one) for one in server.ask("LRANGE", key, 0, -1)],
    b"set": lambda server, key: sorted(_bytes(one) for one in server.ask("SMEMBERS", key)),
    b"hash": lambda server, key: _flat(sorted(_pairs(server.ask("HGETALL", key)))),
    b"zset": lambda server, key: _flat(_pairs(server.ask("ZRANGE", key, 0, -1, "WITHSCORES"))),
    b"stream": _stream,
}
