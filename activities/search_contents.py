"""What a search engine holds, index by index: read the same way from a live one and from a restored copy."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from activities.offsite_progress import Progress
from domain.holdings import MOVING, SAMPLES, Holding, Sample

Ask = Callable[[str], dict[str, Any] | None]
"""Gets a path and returns the JSON object there, ``None`` when there is none."""

MARKERS = "dr_marker"
"""The index of the ledger: written every second, and no business data (V3)."""
_WHOLE = 20_000
"""So many documents of an index are read whole; of a larger one only samples."""
_PAGE = 1_000
_SPREAD = 10
_MANY = 1_000
_WITHOUT_CONTENT = {"snapshotCreation", "dumpCreation", "taskCancelation", "taskDeletion"}


@dataclass(frozen=True)
class Moment:
    """What had been asked of the engine at a moment: the newest task, and those that had not ended."""

    newest: int
    open: frozenset[int]


def indexes_in(ask: Ask) -> list[str]:
    """Return the indexes of the business."""
    found = (ask(f"/indexes?limit={_MANY}") or {}).get("results") or []
    return sorted(str(one["uid"]) for one in found if one.get("uid") != MARKERS)


def read_index(ask: Ask, uid: str, like: Holding | None = None) -> Holding | None:
    """Return what an index holds, ``None`` when it is not there; samples are those of ``like``."""
    place = f"/indexes/{quote(uid, safe='')}"
    index = ask(place)
    if index is None:
        return None
    key = str(index.get("primaryKey") or "id")
    count = int((ask(f"{place}/stats") or {}).get("numberOfDocuments") or 0)
    if count <= _WHOLE and (like is None or like.digest or not like.count):
        return _whole(ask, uid, place, key, count)
    if like is not None:
        wanted = [sample.name for sample in like.samples]
        found = [(one, ask(f"{place}/documents/{quote(one, safe='')}")) for one in wanted]
        samples = [Sample(name=one, digest=_digest(document)) for one, document in found if document]
        return Holding(name=uid, count=count, samples=tuple(samples))
    documents: dict[str, str] = {}
    for part in range(_SPREAD):
        offset = part * count // _SPREAD
        documents |= _page(ask, place, key, offset, SAMPLES // _SPREAD)
    return Holding(name=uid, count=count, samples=_samples(documents))


def still_the_same(ask: Ask, recorded: Holding) -> Holding:
    """Return the samples of an index that others write to and that did not change; of that the copy is held.

    Its name says that its number of documents is not known exactly.
    """
    like = recorded.model_copy(update={"digest": "", "count": recorded.count or 1})
    uid = recorded.name.removesuffix(MOVING)
    now = _sampled(ask, uid, like)
    same = tuple(one for one in recorded.samples if now.get(one.name) == one.digest)
    return Holding(name=f"{uid}{MOVING}", count=len(same), samples=same)


def moment(ask: Ask) -> Moment:
    """Return what has been asked of the engine up to now."""
    newest = (ask("/tasks?limit=1") or {}).get("results") or [{"uid": -1}]
    waiting = (ask(f"/tasks?statuses=enqueued,processing&limit={_MANY}") or {}).get("results") or []
    return Moment(int(newest[0]["uid"]), frozenset(int(one["uid"]) for one in waiting))


def changed_since(ask: Ask, since: Moment, until: datetime) -> frozenset[str] | None:
    """Return the indexes that were changed between a moment and ``until``; ``None`` when all may have been.

    The engine carries out one thing after the other, so what had begun before ``until`` is in a snapshot
    that began then, and nothing else is.
    """
    changed: set[str] = set()
    start = ""
    while True:
        page = ask(f"/tasks?limit={_MANY}{start}") or {}
        tasks = page.get("results") or []
        for task in tasks:
            mine = int(task["uid"]) > since.newest or int(task["uid"]) in since.open
            if not mine or task.get("type") in _WITHOUT_CONTENT or not _began_before(task, until):
                continue
            if not task.get("indexUid"):
                return None
            changed.add(str(task["indexUid"]))
        oldest = min((int(task["uid"]) for task in tasks), default=-1)
        if page.get("next") is None or oldest <= min((since.newest, *since.open)):
            return frozenset(changed - {MARKERS})
        start = f"&from={int(page['next'])}"


def at(text: object) -> datetime:
    """Return a time as the engine writes it."""
    return datetime.fromisoformat(str(text))


def _began_before(task: Mapping[str, Any], until: datetime) -> bool:
    return bool(task.get("startedAt")) and at(task["startedAt"]) < until


def _whole(ask: Ask, uid: str, place: str, key: str, count: int) -> Holding:
    documents: dict[str, str] = {}
    progress = Progress(f"search: reading {uid}", count, unit=_documents)
    while page := _page(ask, place, key, len(documents), _PAGE):
        if page.keys() <= documents.keys():
            break
        documents |= page
        progress.tell(len(documents))
    lines = "\n".join(f"{name}\t{digest}" for name, digest in sorted(documents.items()))
    digest = hashlib.sha256(lines.encode()).hexdigest() if documents else ""
    return Holding(name=uid, count=len(documents), digest=digest, samples=_samples(documents))


def _documents(count: float) -> str:
    return f"{count:,.0f} documents"


def _page(ask: Ask, place: str, key: str, offset: int, limit: int) -> dict[str, str]:
    rows = (ask(f"{place}/documents?limit={limit}&offset={offset}") or {}).get("results") or []
    return {str(row[key]): _digest(row) for row in rows if key in row}


def _sampled(ask: Ask, uid: str, like: Holding) -> dict[str, str]:
    place = f"/indexes/{quote(uid, safe='')}"
    found = ((one.name, ask(f"{place}/documents/{quote(one.name, safe='')}")) for one in like.samples)
    return {name: _digest(document) for name, document in found if document}


def _samples(documents: Mapping[str, str]) -> tuple[Sample, ...]:
    names = sorted(documents)
    step = max(1, -(-len(names) // SAMPLES))
    return tuple(Sample(name=name, digest=documents[name]) for name in names[::step])


def _digest(document: Mapping[str, Any]) -> str:
    spelled = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(spelled.encode()).hexdigest()


def seen_as_recorded(ask: Ask, recorded: Iterable[Holding]) -> tuple[Holding, ...]:
    """Return what a restored copy holds, read as it was read when it was recorded."""
    known = {one.name.removesuffix(MOVING): one for one in recorded}
    found = []
    for uid in sorted({*indexes_in(ask), *known}):
        like = known.get(uid)
        if like is not None and like.name.endswith(MOVING):
            found.append(still_the_same(ask, like))
        elif (now := read_index(ask, uid, like)) is not None:
            found.append(now)
    return tuple(found)
