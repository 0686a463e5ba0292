"""What an approval rests on besides the figures of its brief, and when it has lapsed. Pure."""

from domain.diagnosis import Assessment
from domain.order import Target, Value


class Standing(Value):
    """How things stood when people were asked."""

    verdict: str
    answers: bool
    """The server took questions."""
    backup_there: bool = True
    """The backup that the copy was made of is on the shelf."""

    @classmethod
    def of(cls, found: Assessment, *, backup_there: bool = True) -> "Standing":
        """Return what an assessment and a look at the shelf say."""
        return cls(verdict=found.verdict, answers=found.answers, backup_there=backup_there)


def moved(target: Target, now: Target) -> str | None:
    """Return how the server is another one than the run was started on, or ``None``."""
    before, after = target.postgres, now.postgres
    if before.volume != after.volume:
        return f"the server's data is in the volume {after.volume}, no longer in {before.volume}"
    if before.container_id != after.container_id:
        return (
            f"the server's container is {after.container_id[:12]}, no longer {before.container_id[:12]}:"
            " somebody made it anew"
        )
    return None


def lapsed(stated: Standing, now: Standing, because: str) -> str | None:
    """Return what is no longer as people were told, or ``None``; ``because`` is the new assessment's."""
    if stated.verdict != now.verdict:
        return f"the diagnosis was {stated.verdict}, now it is {now.verdict}: {because}"
    if stated.answers != now.answers:
        word = "answers again" if now.answers else "no longer answers"
        return f"the server {word}: {because}"
    if stated.backup_there and not now.backup_there:
        return "the backup is no longer on the shelf"
    return None


def as_facts(now: Standing, why: str, backup_id: str) -> tuple[str, ...]:
    """Return the sentences that a brief begins with when it is shown again."""
    gone = () if now.backup_there else (f"The backup {backup_id} is no longer on the shelf",)
    healed = now.verdict not in {"corrupt", "unknown"}
    rejecting = ("A rejection leaves the server as it is",) if healed else ()
    return (f"Asked again: {why}", *gone, *rejecting)
