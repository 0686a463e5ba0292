"""What a backup of the search engine holds that has lost its entry: loaded into an engine of its own."""

from pathlib import Path

from activities import stored
from activities.alone import alone
from activities.engine import Engine
from activities.search_contents import indexes_in, read_index
from activities.search_copy import SearchCopy
from activities.search_files import FILES, read_through
from activities.search_place import place_of_search, search_of
from domain.entries import Entry, Source
from domain.errors import BackupUnusable
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import Target

ROLE = "search-rebuild"


class SearchRereading:
    """Loads backups to say again what they hold."""

    def __init__(self, engine: Engine, state: Path) -> None:
        """``state`` is DR_STATE."""
        self._engine = engine
        self._state = state

    def read_again(self, target: Target, directory: Path, entry: Entry) -> Entry:
        """Add every index and the version; which image wrote it is not known any more.

        Raises ``BackupUnusable`` for a file that cannot be read to its end or that the engine does not take:
        a snapshot is taken by the version alone that wrote it. What was made is always removed.
        """
        if stored.names_in(directory) != [FILES[entry.kind]]:
            raise BackupUnusable(f"its file is not {FILES[entry.kind]}", code="backup-stranger")
        version = read_through(directory / FILES[entry.kind], entry.kind)
        place = place_of_search(self._engine, target, search_of(target))
        labels = {LABEL_STACK: target.stack, LABEL_ROLE: ROLE}
        copy = SearchCopy(self._engine, place, f"dr-{target.stack}-rebuild-{entry.id}", labels)
        with alone(self._state, copy.name):
            copy.remove()
            try:
                copy.load(directory, entry)
                read = [read_index(copy.get, uid) for uid in indexes_in(copy.get)]
            finally:
                copy.remove()
        held = tuple(one for one in read if one is not None)
        return entry.model_copy(update={"held": held, "source": Source(version=version)})
