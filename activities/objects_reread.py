"""What a copy of objects holds that has lost its entry, as its own listing says."""

from pathlib import Path

from activities import stored
from activities.objects_entry import place_in, read_listing, refuse_drive
from domain.entries import Entry
from domain.errors import BackupUnusable
from domain.objects_copy import LISTING, PLACE, holdings
from domain.order import Target

_OWN = sorted((LISTING, PLACE))


def read_copy(target: Target, directory: Path, entry: Entry) -> Entry:
    """Add what each bucket held; one that held nothing is in no listing.

    Whether the contents are still what they were is for a verification. Raises ``BackupUnusable``, and
    ``Refused`` (``objects-drive-copied``) for the files of a drive.
    """
    refuse_drive(Path(target.shelf), entry.id)
    names = stored.names_in(directory)
    if names != _OWN:
        raise BackupUnusable(f"its files are not {' and '.join(_OWN)}", code="backup-stranger")
    place_in(directory)
    listed = read_listing(directory / LISTING)
    held = holdings({one.bucket for one in listed if one.gone_since is None}, listed)
    if not held:
        raise BackupUnusable("its listing names nothing", code="backup-stranger")
    return entry.model_copy(update={"held": held})
