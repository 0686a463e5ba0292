"""Where a server that does not answer keeps its files: by its command and its configuration file.

Both are only read, the file through the engine as the container sees it. Of the settings nothing is carried
out, and the password is not kept.
"""

import posixpath

from activities.engine import ContainerState, Engine
from domain.errors import Refused
from domain.order import ServiceTarget
from domain.redis_backups import RedisFiles
from domain.redis_settings import INCLUDE, Settings, arguments_in, file_in, lines_in, spread

_LIMIT_BYTES = 1024 * 1024
_MOST_FILES = 20
_PATTERN = set("*?[")


def files_as_told(engine: Engine, container: ContainerState, service: ServiceTarget) -> RedisFiles:
    """Return how a server names its files, by what it is started with.

    Raises ``Refused``: ``redis-settings-unknown`` when that cannot be read, ``redis-password`` when it will
    let nobody in and the stack file names no password: then nobody could see it come up.
    """
    config = container.raw["Config"]
    working_dir = str(config.get("WorkingDir") or "")
    settings = Settings()
    try:
        words = spread(str(word) for word in (*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())))
        file = file_in(words)
        if file:
            _Files(engine, container, working_dir).read_into(settings, file)
        for name, values in arguments_in(words):
            settings.take(name, values)
        found = settings.files(working_dir)
    except (OSError, ValueError) as error:
        raise Refused(
            f"how Redis names its files is not known: {getattr(error, 'strerror', None) or error}",
            where=f"{container.name}: {getattr(error, 'filename', None) or 'its command'}",
            hint="start it, so that it says so itself",
            code="redis-settings-unknown",
        ) from None
    if settings.wants_password and not service.secrets.get("password"):
        raise Refused(
            "Redis will want a password, and the stack file names none",
            where=container.name,
            hint="name the account and the password of the service in the stack file as Redis knows them",
            code="redis-password",
        )
    return found


class _Files:
    """Reads configuration files, and those that they include at the place where they do."""

    def __init__(self, engine: Engine, container: ContainerState, working_dir: str) -> None:
        self._engine = engine
        self._container = container
        self._started = working_dir or "/"
        self._read = 0

    def read_into(self, settings: Settings, file: str) -> None:
        path = posixpath.normpath(posixpath.join(self._started, file))
        self._read += 1
        if self._read > _MOST_FILES:
            raise ValueError("its configuration includes files without end")
        if _PATTERN & set(file):
            raise ValueError("its configuration includes files by a pattern")
        content = self._engine.file_in(self._container.id, path, _LIMIT_BYTES)
        try:
            lines = lines_in(content.decode())
        except UnicodeDecodeError:
            raise ValueError("its configuration is no text") from None
        for name, values in lines:
            if name == INCLUDE and values:
                self.read_into(settings, values[0])
            else:
                settings.take(name, values)
