"""Copies a shelf in a process of its own, so that a test can kill it: ``DIRECTORY ENDPOINT BUCKET``."""

import sys
from pathlib import Path

from tests.hands.offsite.place import Place

if __name__ == "__main__":
    Place(Path(sys.argv[1]), sys.argv[2], sys.argv[3], {"parallel": 1}).copy()
