"""What a look at the archive of WAL answers: how far it goes, and from which backup on it is whole."""

from domain.order import Outcome


class Archived(Outcome):
    """The WAL that a server had written when it was asked lies in the archive, and leads there."""

    slot: str
    container: str = ""
    """Of the receiver."""
    made_again: bool = False
    """The receiver was missing or dead."""
    received_lsn: str
    """How far the server had written when it was asked; the receiver has it."""
    closed_segment: str = ""
    """The open segment that was closed because it was old."""
    base_id: str = ""
    """The oldest kept base backup from which the archive is whole; empty while there is none."""
    segments: int = 0
    """From that base backup on."""
    cut_off: tuple[str, ...] = ()
    """Older base backups that no way leads from: their timeline was left before they ended."""
