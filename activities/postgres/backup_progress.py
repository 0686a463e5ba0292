"""How far ``pg_basebackup`` is, read from its own lines."""

import re
from collections.abc import Callable

from activities.offsite_progress import Progress
from activities.pulse import beat

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
        progress.at(done, total)
        beat(progress.sentence())

    return tell
