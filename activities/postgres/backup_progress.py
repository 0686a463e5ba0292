"""How far ``pg_basebackup``, and the copy of what it made, are: read from their own lines."""

import re
from collections.abc import Callable

from activities.offsite_progress import Progress
from activities.pulse import beat

_COPIED = re.compile(r"(\d+) (\d+)")
_PROGRESS = re.compile(r"(\d+)/(\d+) kB \(\d+%\)")


def telling(stand_back: Callable[[], None]) -> Callable[[str], None]:
    """Return what is given each line; ``stand_back`` is asked first, and may end the watching."""
    progress = Progress("backup", 0)

    def tell(line: str) -> None:
        stand_back()
        found = _PROGRESS.search(line)
        if found is None:
            beat("the backup runs")
            return
        done, total = (int(word) * 1024 for word in found.groups())
        progress.tell(done, total)

    return tell


def telling_copy(what: str) -> Callable[[str], None]:
    """Return what is given each line of ``restore_base.sh``; between its figures ``what`` is all there is."""
    progress = Progress(what, None)

    def tell(line: str) -> None:
        found = _COPIED.fullmatch(line.strip())
        if found is None:
            beat(what)
        else:
            progress.tell(*(int(word) for word in found.groups()))

    return tell
