"""What is seen of the far side: its copies, and contents that no copy lists. Pure."""

from domain.backups import PassedOver, spoken_bytes
from domain.offsite_copies import FarEntry, OffsiteOrder
from domain.order import Outcome, Value


class ListFarOrder(OffsiteOrder):
    """Look at the far side."""

    unlisted: bool = False
    """Read what every copy lists, to find contents that none does."""


class Unlisted(Value):
    """Contents that no whole copy lists: of copies that are gone, or of one that never was finished."""

    count: int = 0
    bytes: int = 0
    unread: int = 0
    """So many copies could not be asked; what they list is counted as well."""

    @property
    def sentence(self) -> str:
        """Say it; nothing where there is none."""
        if not self.count:
            return ""
        doubt = f" of those that could be read ({self.unread} could not)" if self.unread else ""
        return (
            f"{self.count:,} contents of objects of {spoken_bytes(self.bytes)} are listed by no whole"
            f" copy{doubt}; nothing of ours removes them"
        )


class OffsiteList(Outcome):
    """What the far side holds of a stack: entries newest first, and the WAL."""

    entries: tuple[FarEntry, ...] = ()
    segments: int = 0
    segment_bytes: int = 0
    newest_segment: str = ""
    contents: int = 0
    content_bytes: int = 0
    unlisted: Unlisted | None = None
    """``None`` was not looked at."""
    strangers: tuple[PassedOver, ...] = ()
    unopened: tuple[str, ...] = ()
    """What keeps copies from being opened on this host, a sentence for each key."""
