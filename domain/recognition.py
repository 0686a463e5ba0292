"""Tells what a service is by its image, its environment's names and its ports."""

from collections.abc import Mapping

from domain.order import Value
from domain.stack import Kind

ACCOUNT_NAMES = ("POSTGRES_USER", "POSTGRESQL_USERNAME")
DATABASE_NAMES = ("POSTGRES_DB", "POSTGRESQL_DATABASE")
"""Variables in which images of PostgreSQL take the account and the database; the first that is set counts."""


class Sighting(Value):
    """One container of a Compose project, without any value of its environment that could be secret."""

    service: str
    container: str
    image: str
    state: str = "running"
    job: bool = False
    """It ended well and nothing would start it again: an init job."""
    env_names: tuple[str, ...] = ()
    """Variables that have a value, in the order of the container."""
    facts: dict[str, str] = {}
    """The few variables that name things: PGDATA, the server's account and database."""
    secret_files: dict[str, str] = {}
    """A variable such as POSTGRES_PASSWORD_FILE, and the path on the host that is mounted there."""
    ports: tuple[int, ...] = ()
    """Ports inside the container, exposed or published."""
    published: dict[str, int] = {}
    """Port inside the container to the port on 127.0.0.1."""
    needs: tuple[str, ...] | None = None
    """Services that Compose starts first; ``None`` when the label is not there."""
    volumes: dict[str, str] = {}
    """Path in the container to the named volume that is mounted there."""
    wants_password: bool = False
    """Its arguments set a password."""


class Recognised(Value):
    """What a service is taken for, and why."""

    kind: Kind
    because: str
    certain: bool = True


_IMAGES: Mapping[Kind, frozenset[str]] = {
    Kind.POSTGRES: frozenset(
        ("postgres", "postgresql", "pgvector", "postgis", "timescaledb", "timescaledb-ha", "pgvecto-rs")
    ),
    Kind.REDIS: frozenset(("redis", "valkey", "keydb", "dragonfly", "redis-stack", "redis-stack-server")),
    Kind.HASURA: frozenset(("hasura", "graphql-engine")),
    Kind.AUTH: frozenset(("hasura-auth",)),
    Kind.OBJECTS: frozenset(("minio",)),
    Kind.SEARCH: frozenset(("meilisearch",)),
    Kind.FUNCTIONS: frozenset(("functions",)),
    Kind.PROXY: frozenset(
        ("nginx", "nginx-unprivileged", "openresty", "caddy", "traefik", "haproxy", "envoy", "httpd")
    ),
}
# Every name must be there: programs of the stack carry the credentials of the stores they use.
_VARIABLES: tuple[tuple[Kind, frozenset[str]], ...] = (
    (Kind.AUTH, frozenset(("AUTH_SERVER_URL", "HASURA_GRAPHQL_GRAPHQL_URL"))),
    (Kind.HASURA, frozenset(("HASURA_GRAPHQL_METADATA_DATABASE_URL",))),
    (Kind.HASURA, frozenset(("HASURA_GRAPHQL_DATABASE_URL", "HASURA_GRAPHQL_ENABLE_CONSOLE"))),
    (Kind.POSTGRES, frozenset(("PG_MAJOR", "PGDATA"))),
)
_PORTS: Mapping[int, Kind] = {5432: Kind.POSTGRES, 6379: Kind.REDIS, 7700: Kind.SEARCH}
_DATABASE_WORDS = ("DATABASE_URL", "POSTGRES_", "PGHOST", "PG_HOST", "DB_HOST", "DB_URL")
# The order in which a stack of this shape comes up; Auth tracks its tables through Hasura.
_KNOWN_NEEDS: Mapping[Kind, tuple[Kind, ...]] = {
    Kind.HASURA: (Kind.POSTGRES,),
    Kind.AUTH: (Kind.POSTGRES, Kind.HASURA),
    Kind.FUNCTIONS: (Kind.POSTGRES, Kind.HASURA),
    Kind.PROXY: (Kind.HASURA, Kind.AUTH),
}


def recognise(seen: Sighting) -> Recognised:
    """Return what a service is; a port alone is a guess, and what nothing tells is ``other``."""
    name = _image_name(seen.image)
    for kind, names in _IMAGES.items():
        if name in names:
            return Recognised(kind=kind, because=f"by its image {name}")
    for kind, needed in _VARIABLES:
        if needed <= set(seen.env_names):
            return Recognised(kind=kind, because=f"by its variables {', '.join(sorted(needed))}")
    for port in seen.ports:
        if port in _PORTS:
            return Recognised(kind=_PORTS[port], because=f"by its port {port} alone", certain=False)
    return Recognised(kind=Kind.OTHER, because=f"the image {name} is not known", certain=False)


def _image_name(image: str) -> str:
    """Return the last part of an image's name, without registry, tag and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def needs_of(
    seen: Sighting, kinds: Mapping[str, Kind], everything: Mapping[str, Sighting]
) -> tuple[tuple[str, ...], str]:
    """Return the services that one needs, and why more than its label states (empty when not).

    The label of Compose comes first; the known order of the kinds is added, and a service without a
    label whose variables speak of a database is taken to need it.
    """
    stated = tuple(name for name in seen.needs or () if name in kinds)
    by_kind = {kind: name for name, kind in reversed(list(kinds.items()))}
    own = kinds[seen.service]
    known = [by_kind[kind] for kind in _KNOWN_NEEDS.get(own, ()) if kind in by_kind]
    added = [name for name in known if name not in stated]
    why = "from the known order of such stacks" if added else ""
    database = by_kind.get(Kind.POSTGRES)
    telling = next((name for name in seen.env_names if name.startswith(_DATABASE_WORDS)), None)
    if own is Kind.OTHER and database and telling and database not in stated:
        added, why = [database], f"because of its variable {telling}"
    # The labels win: an edge that would close a circle with them is not added.
    added = [name for name in added if not _reaches(name, seen.service, everything)]
    return (*stated, *added), why if added else ""


def _reaches(start: str, goal: str, everything: Mapping[str, Sighting]) -> bool:
    """Tell whether a service needs another by the labels, directly or through others."""
    known, waiting = set[str](), [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in known and name in everything:
            known.add(name)
            waiting += everything[name].needs or ()
    return False
