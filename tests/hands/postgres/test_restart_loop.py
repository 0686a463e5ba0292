"""A server in a restart loop: Docker says that it runs, and it is gone before anything can be asked in it."""

from activities.engine import Engine
from activities.postgres_target import postgres_target
from domain.stack import Kind, Service
from tests.hands.postgres.conftest import UID, Server


def test_who_owns_the_data_is_found_out_although_the_container_is_gone_when_it_is_asked(
    server: Server, engine: Engine
) -> None:
    container = engine.look(server.target.postgres.container_id)
    assert container is not None
    assert container.running
    engine.stop(container.id, 20)
    found = postgres_target(engine, "", server.target.services[0], Service(kind=Kind.POSTGRES), container)
    assert (found.uid, found.gid) == (UID, UID)
    assert found.volume == server.target.postgres.volume
