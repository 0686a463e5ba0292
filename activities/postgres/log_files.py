"""What a server with a logging collector says: its container's log ends where the collector begins."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from activities.engine import ContainerState, Engine
from activities.postgres.data_directory import look_into
from domain.errors import DrError
from domain.order import TargetOrder

REDIRECTED = "redirecting log output to logging collector process"
Said = tuple[datetime, str]
# The server itself writes down where it writes; the newest end is enough, as it is of a container's log.
_READ = """
cd "$1" || exit 0
while read -r kind path; do
    [ "$kind" = stderr ] || echo "dr: written as $kind"
    [ "$kind" != stderr ] || [ ! -f "$path" ] || tail -c 500000 "$path"
done < current_logfiles
"""
_LINE = re.compile(
    r"^(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)? (?:UTC|GMT|Etc/UTC)\b)?(?:.*?\b)?"
    r"(?:WARNING|ERROR|FATAL|PANIC|LOG):\s+(.*)$"
)


def collected(
    engine: Engine, order: TargetOrder, state: ContainerState, lines: Sequence[Said]
) -> tuple[list[Said], str]:
    """Return the lines with those of the collector's file in the place of what went there, and what is amiss.

    ``lines`` are those of the container's log; where no collector took over, they are returned as they are.
    """
    taken = [number for number, (_, text) in enumerate(lines) if text.startswith(REDIRECTED)]
    if not taken:
        return list(lines), ""
    try:
        text = look_into(engine, order, state, _READ, "log")
    except DrError as error:
        return list(lines), f"the server logs to files of its own, which could not be read: {error}"
    found = [_parsed(match) for line in text.splitlines() if (match := _LINE.match(line)) is not None]
    if not found:
        return list(lines), "the server logs to files of its own, in which nothing could be read"
    return [*found, *lines[taken[-1] + 1 :]], ""


def _parsed(found: re.Match[str]) -> Said:
    """Return when and what; a line in another time zone is as old as its being read."""
    if found[1] is None:
        return datetime.now(UTC), found[3]
    return datetime.fromisoformat(f"{found[1]}+00:00"), found[3]
