"""What the policy no longer keeps, with the reason for each backup that goes and for each that stays. Pure.

The age of a backup is counted from the time it was scheduled for, so that weeks can be played through by
backfilling a schedule.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from domain.backup_policy import BackupPolicy
from domain.backups import Level, PassedOver, spoken_bytes
from domain.retention_plan import Held, Place, RetentionPlan, Ruling
from domain.wal_retention import Segment, WalRange, rule_wal, total_bytes

_BASE = ("postgres", "base")


def plan_retention(
    held: Iterable[Held],
    segments: Iterable[Segment],
    policy: BackupPolicy,
    *,
    as_of: datetime,
    paused_because: str = "",
    strangers: Iterable[PassedOver] = (),
) -> RetentionPlan:
    """Return what the policy removes as of a moment, whole and not shortened."""
    held = [believed(one, as_of) for one in held]
    rulings: list[Ruling] = []
    bases: dict[str, str] = {}
    for place, alike in _by_place(held).items():
        ruled = _rule_alike(alike, rules(policy).get(place), as_of, paused_because)
        rulings += ruled
        if place == _BASE:
            bases = kept_bases(alike, ruled)
    wal = rule_wal(
        segments,
        bases,
        before=as_of - policy.keep_wal,
        kept_for=spoken_age(policy.keep_wal),
        paused_because=_paused(paused_because),
    )
    going = tuple(one for one in rulings if one.goes)
    wal_going = tuple(one for one in wal if one.goes)
    freed = sum(one.bytes for one in going) + total_bytes(wal_going)
    return RetentionPlan(
        sentence=_sentence(len(going), wal_going, freed, paused_because),
        as_of=as_of,
        going=going,
        staying=tuple(one for one in rulings if not one.goes),
        wal_going=wal_going,
        wal_staying=tuple(one for one in wal if not one.goes),
        bytes_going=freed,
        paused_because=paused_because,
        strangers=tuple(strangers),
    )


def believed(one: Held, as_of: datetime) -> Held:
    """Return a backup without the time that it was scheduled for, where that is still to come.

    Whoever starts one by hand may type any: it would be the newest for years, and push out all others.
    """
    ahead = one.scheduled_for is not None and one.scheduled_for > as_of
    return one.model_copy(update={"scheduled_for": None}) if ahead else one


def kept_bases(held: Iterable[Held], rulings: Iterable[Ruling]) -> dict[str, str]:
    """Return the base backups that stay, each with the oldest WAL that it needs."""
    gone = {one.id for one in rulings if one.goes and (one.store, one.kind) == _BASE}
    return {one.id: one.start_segment for one in held if one.place == _BASE and one.id not in gone}


def rules(policy: BackupPolicy) -> Mapping[Place, timedelta | int]:
    """Return for each store and kind how long it is kept, or how many of it are."""
    return {
        _BASE: policy.keep_base,
        ("postgres", "daily"): policy.keep_daily,
        ("postgres", "weekly"): policy.keep_weekly,
        ("redis", "rdb"): policy.keep_redis,
        ("redis", "aof"): policy.keep_redis,
        ("minio", "copy"): policy.keep_versions,
        ("meilisearch", "snapshot"): policy.keep_search,
        ("meilisearch", "dump"): policy.keep_search,
        ("hasura", "metadata"): policy.keep_hasura,
        ("stack", "configuration"): policy.keep_stack,
    }


def spoken_age(age: timedelta) -> str:
    """Return a long duration in a few signs: ``7 d``, ``36 h``."""
    hours = age / timedelta(hours=1)
    return f"{hours / 24:g} d" if hours % 24 == 0 else f"{hours:.3g} h"


def _by_place(held: Iterable[Held]) -> dict[Place, list[Held]]:
    """Return the backups of each store and kind, the oldest first."""
    found: dict[Place, list[Held]] = {}
    for one in sorted(held, key=lambda one: (one.place, one.age_key)):
        found.setdefault(one.place, []).append(one)
    return found


def _rule_alike(
    alike: Sequence[Held], rule: timedelta | int | None, as_of: datetime, paused_because: str
) -> list[Ruling]:
    """Rule on all backups of one store and kind, given with the oldest first."""
    # Of each server by itself: a newer one of somebody else's is no reason to remove the last of ours.
    lasting: dict[str, str] = {}
    for system in {one.system for one in alike}:
        lasting |= _last_ones([one for one in alike if one.system == system])
    ruled = []
    for newer, one in zip(reversed(range(len(alike))), alike, strict=True):
        spent, reason = _spent(one, newer, rule, as_of)
        if spent and one.id in lasting:
            reason = f"{reason}, but it is {lasting[one.id]}"
        elif spent and paused_because:
            reason = _paused(paused_because)
        goes = spent and one.id not in lasting and not paused_because
        ruled.append(
            Ruling(id=one.id, store=one.store, kind=one.kind, bytes=one.bytes, goes=goes, reason=reason)
        )
    return ruled


def _spent(one: Held, newer: int, rule: timedelta | int | None, as_of: datetime) -> tuple[bool, str]:
    """Return whether the policy alone lets a backup go, and why."""
    if rule is None:
        return False, f"no rule says how long {one.store} {one.kind} is kept"
    if isinstance(rule, int):
        if newer < rule:
            return False, f"it is one of the newest {rule}"
        return True, f"{newer} newer ones are there, and {rule} are kept"
    age = as_of - one.age_key[0]
    if age <= rule:
        return False, f"it is not older than {spoken_age(rule)}"
    return True, f"it is older than {spoken_age(rule)}: {age.days} d"


def _last_ones(alike: Sequence[Held]) -> dict[str, str]:
    """Return the backups that stay whatever the policy says, with what each is the last one of."""
    verified = [one for one in alike if one.verified is not Level.NONE]
    restored = [one for one in alike if one.verified is Level.RESTORED]
    lasting: dict[str, str] = {}
    for among, said in (
        (verified, "the last one that was verified"),
        (restored, "the last one that was restored"),
        (alike, "the last one of its kind"),
    ):
        if among:
            # By its end, not by its date: what was made last holds the youngest data.
            lasting[max(among, key=lambda one: (one.ended_at, one.id)).id] = said
    return lasting


def _paused(because: str) -> str:
    return f"retention is paused: {because}" if because else ""


def _sentence(going: int, wal: Sequence[WalRange], freed: int, paused_because: str) -> str:
    if paused_because:
        return f"Nothing is removed: {paused_because}"
    segments = sum(one.segments for one in wal)
    if not going and not segments:
        return "Nothing is there that the policy does not keep"
    return f"{going} backups and {segments} WAL segments go: {spoken_bytes(freed)}"
