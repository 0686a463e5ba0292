"""What a full disk leaves of the receiver's open segment, so that it could never go on by itself (F-B6)."""

import os
import stat
import time
from pathlib import Path

from activities import plain_files
from domain.wal import is_segment

PARTIAL = ".partial"
_SETTLED_SECONDS = 5.0


def drop_unpadded(directory: Path, segment_bytes: int) -> list[str]:
    """Remove open segments that were not even filled up, and return their names.

    The receiver makes a segment as large as it will be before it writes into it, and refuses one of
    another size ever after. No WAL is in such a file: the server still has it, and sends it again.
    To be called while the receiver does not stream; one that was touched just now is left alone.
    """
    dropped = []
    for name in plain_files.names_at(directory):
        if not name.endswith(PARTIAL) or not is_segment(name.removesuffix(PARTIAL)):
            continue
        with plain_files.directory(directory) as above:
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            settled = time.time() - found.st_mtime > _SETTLED_SECONDS
            if stat.S_ISREG(found.st_mode) and 0 < found.st_size < segment_bytes and settled:
                os.unlink(name, dir_fd=above)
                dropped.append(name)
    return dropped
