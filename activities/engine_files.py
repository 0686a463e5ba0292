"""Files as a container sees them, whether it runs or not: read through the engine, nothing is executed."""

import errno
import io
import posixpath
import tarfile
from typing import Any

import docker
from docker.errors import APIError, NotFound

from activities.engine_errors import speaking
from activities.job import operand

_MOST_LINKS = 5
_ARCHIVE_BYTES = 64 * 1024
"""So much more than its file an archive of one file may have."""


class Files:
    """The files of one Docker engine's containers."""

    _client: docker.DockerClient

    def file_in(self, name: str, path: str, limit_bytes: int) -> bytes:
        """Return the content of a regular file of a container; its links end inside the container.

        Raises ``OSError`` for what is not there, is no file, or is larger than ``limit_bytes``.
        """
        for _ in range(_MOST_LINKS):
            packed, stat = self._archive(name, path, limit_bytes + _ARCHIVE_BYTES)
            target = str(stat.get("linkTarget") or "")
            if not target:
                return _only_file(packed, path, limit_bytes)
            path = posixpath.join(posixpath.dirname(path), target)
        raise OSError(errno.ELOOP, "there is no end of links", path)

    def _archive(self, name: str, path: str, limit_bytes: int) -> tuple[bytes, dict[str, Any]]:
        with speaking(operand(name)):
            try:
                stream, stat = self._client.api.get_archive(name, path)
            except NotFound:
                raise OSError(errno.ENOENT, "it is not there", path) from None
            except APIError as error:
                if "too many links" not in str(error.explanation):
                    raise
                raise OSError(errno.ELOOP, "there is no end of links", path) from None
            held = io.BytesIO()
            for piece in stream:
                held.write(piece)
                if held.tell() > limit_bytes:
                    raise OSError(errno.EFBIG, "it is too large", path)
        return held.getvalue(), dict(stat)


def _only_file(packed: bytes, path: str, limit_bytes: int) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as archive:
            entry = archive.next()
            file = archive.extractfile(entry) if entry is not None and entry.isreg() else None
            content = file.read(limit_bytes + 1) if file is not None else None
    except tarfile.TarError:
        content = None
    if content is None:
        raise OSError(errno.EINVAL, "it is no regular file", path)
    if len(content) > limit_bytes:
        raise OSError(errno.EFBIG, "it is too large", path)
    return content
