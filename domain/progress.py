"""How far a long piece of work is, in one sentence: how much, how fast, and what is left. Pure.

No figure without a basis: without a total there is no share and no time, and a total that was only expected
is told as such and no longer told once it was passed.
"""

from collections.abc import Callable

from domain.backups import spoken_bytes
from domain.durations import spoken

_LEAST_SECONDS = 1.0
"""What was done in less time says nothing of a rate."""
_WHOLE = 100
_ALMOST = 99


def progress_sentence(
    what: str,
    done: int,
    total: int | None,
    *,
    seconds: float,
    before: int = 0,
    about: bool = False,
    unit: Callable[[float], str] = spoken_bytes,
) -> str:
    """Return how far ``what`` is.

    ``before`` of ``done`` was behind it already ``seconds`` ago, when it was first looked at. With ``about``
    the total is what was expected from something else, so that it may be passed, and is never known to be
    all. ``unit`` spells what is counted.
    """
    known = total is not None and not (about and (total <= 0 or done > total))
    if total is not None and known and not about:
        done = min(done, total)
    if done <= 0 and not known:
        return what
    rate = max(done - before, 0) / seconds if seconds >= _LEAST_SECONDS else 0.0
    said = f"{what}: {unit(done)}"
    if total is not None and known:
        share = _WHOLE * max(done, 0) // total if total > 0 else _WHOLE
        said = f"{what} {'about ' if about else ''}{min(share, _ALMOST if about else _WHOLE)} %: {unit(done)}"
        said += f" of {'about ' if about else ''}{unit(total)}"
    elif total is not None and total > 0:
        said += ", more than expected"
    if rate > 0:
        said += f", {unit(rate)} a second"
    if total is not None and known and rate > 0 and done < total:
        said += f", about {spoken((total - done) / rate)} left"
    return said


def keys(count: float) -> str:
    """Spell a number of keys."""
    return f"{count:,.0f} keys"
