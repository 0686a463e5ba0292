"""Copies or fetches in a process of its own, which a test kills: ``copy|fetch DIRECTORY ENDPOINT BUCKET``."""

import sys
from pathlib import Path

from tests.hands.offsite.place import Place

if __name__ == "__main__":
    place = Place(Path(sys.argv[2]), sys.argv[3], sys.argv[4], {"parallel": 1})
    if sys.argv[1] == "copy":
        place.copy()
    else:
        place.fetch()
