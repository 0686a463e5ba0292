"""Which contents on the far side no copy there lists: nothing of ours removes them, so somebody is told."""

from collections.abc import Callable, Iterable, Mapping

from activities.offsite_side import FarSide
from activities.pulse import beat
from domain.errors import DrError
from domain.offsite_contents import contents_root, names_under
from domain.offsite_copies import FarEntry, OffsiteOrder
from domain.offsite_look import Unlisted

_AT_MOST = 500
"""So many listings are read, the newest first."""

ListedBy = Callable[[FarEntry], Mapping[str, int]]
"""Returns what a far copy lists: SHA-256 to size; raises ``DrError`` when it cannot be read."""


def unlisted(
    side: FarSide,
    order: OffsiteOrder,
    copies: Iterable[FarEntry],
    there: Mapping[str, int],
    listed_by: ListedBy,
) -> Unlisted:
    """Return how many contents none of the copies lists, and how many copies could not be asked.

    ``there`` are the objects that hold contents, with their sizes.
    """
    root = contents_root(order.policy, order.target.stack)
    keys = [side.keys.find(one.id) for one in side.keys.known()] if order.policy.encrypt else []
    names = names_under(root, keys)
    left, seen = dict(there), set[str]()
    unread = 0
    for number, copy in enumerate(copies):
        if not left:
            break
        if number >= _AT_MOST:
            unread += 1
            continue
        beat(f"off-site listing: what {copy.id} lists")
        try:
            fresh = listed_by(copy).keys() - seen
        except DrError:
            unread += 1
            continue
        seen |= fresh
        for sha256 in fresh:
            for one in names:
                left.pop(one.of(sha256), None)
    return Unlisted(count=len(left), bytes=sum(left.values()), unread=unread if left else 0)
