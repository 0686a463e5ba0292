"""Where Redis keeps its files, by its command and the text of its configuration."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from domain.errors import Refused
from domain.redis_backups import RedisFiles
from domain.redis_settings import Settings, arguments_in, file_in, lines_in, spread


def told(*words: str, text: str = "") -> Settings:
    settings = Settings()
    for name, values in [*lines_in(text), *arguments_in(words)]:
        settings.take(name, values)
    return settings


def test_the_arguments_of_a_server_say_where_its_files_are() -> None:
    words = ("docker-entrypoint.sh", "redis-server", "--appendonly", "yes", "--dir", "/data/x")
    more = ("--dbfilename", "d.rdb", "--appenddirname", "aof", "--appendfilename", "log.aof")
    assert told(*words, *more).files("/data") == RedisFiles(
        directory="/data/x", snapshot="d.rdb", aof_directory="aof", aof_name="log.aof", append_only=True
    )
    assert told("redis-server").files("") == RedisFiles()
    assert told("redis-server").files("/var/lib/redis").directory == "/var/lib/redis"
    assert told("redis-server", "--dir", "inner").files("/data").directory == "/data/inner"


CONFIGURATION = """
# dir /elsewhere
DIR /data/x
dbfilename "shop.rdb"
appendfilename 'shop.aof'
appenddirname "aof\\x2ddir"
appendonly no
appendonly yes
save 3600 1 300 100
client-output-buffer-limit replica 256mb 64mb 60
requirepass "a # b"
masterauth "odd"and"unread
loadmodule /evil.so
"""


def test_a_configuration_is_read_as_redis_reads_it_and_what_the_command_says_counts_more() -> None:
    settings = told(text=CONFIGURATION)
    assert settings.files("/data") == RedisFiles(
        directory="/data/x",
        snapshot="shop.rdb",
        aof_directory="aof-dir",
        aof_name="shop.aof",
        append_only=True,
    )
    assert settings.wants_password
    assert "a # b" not in repr(settings.said), "the password is not kept"
    over = told("redis-server", "--dir", "/data", "--requirepass", "", text=CONFIGURATION)
    assert over.files("/data").directory == "/data"
    assert not over.wants_password


@pytest.mark.parametrize(
    "line", ['dbfilename "open', "dbfilename 'open", 'dbfilename "a"b', "include " + "x" * 20_000]
)
def test_a_line_that_redis_would_not_take_is_refused_without_being_quoted(line: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2 is none that Redis would read$"):
        lines_in(f"appendonly yes\n{line}\n")


@given(some.text(max_size=200))
@example("\x1f")
def test_whatever_the_text_is_it_is_read_or_refused(text: str) -> None:
    try:
        found = lines_in(text)
    except ValueError:
        return
    assert all(name == name.lower() for name, _ in found)


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("docker-entrypoint.sh", "redis-server"), ""),
        (("docker-entrypoint.sh", "redis-server", "/etc/redis.conf", "--dir", "/data"), "/etc/redis.conf"),
        (("/usr/bin/redis-server", "conf/redis.conf"), "conf/redis.conf"),
        (("redis-server", "--dir", "/etc/x.conf"), ""),
        (("docker-entrypoint.sh", "/etc/redis.conf"), "/etc/redis.conf"),
        (("sh", "-c", "exec redis-server /etc/redis.conf --dir /data"), "/etc/redis.conf"),
        (("redis-server", "-"), ""),
    ],
)
def test_the_configuration_file_is_the_word_behind_the_server(words: tuple[str, ...], file: str) -> None:
    assert file_in(spread(words)) == file


def test_what_only_a_shell_knows_is_not_guessed() -> None:
    words = spread(("sh", "-c", "redis-server --requirepass $WORD --dir $PLACE"))
    with pytest.raises(ValueError, match="dir is only known to a shell"):
        told(*words)
    assert told(*words[:-2]).wants_password


@pytest.mark.parametrize("name", ["../x", "a/b", "", "$(x)"])
def test_a_file_name_that_leads_elsewhere_is_refused(name: str) -> None:
    settings = Settings({"dbfilename": name})
    with pytest.raises(Refused) as error:
        settings.files("/data")
    assert error.value.code == "path-escapes"
