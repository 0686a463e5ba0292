import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from domain.errors import Refused
from domain.inventory import Draft, Inventory, draft
from domain.recognition import Sighting, recognise
from domain.stack import Kind, Stack
from domain.stack_file import parse_stack
from starter.stack_text import stack_text

LAB = Path(__file__).parents[2] / "infra" / "lab" / "compose.yaml"
STACK = Path(__file__).parents[2] / "infra" / "stack.yaml"
SERVER = Sighting(
    service="db",
    container="shop-db-1",
    image="registry.example/team/postgres:17@sha256:00",
    env_names=("POSTGRES_PASSWORD", "POSTGRES_USER", "PGDATA"),
    facts={"PGDATA": "/var/lib/postgresql/17/main", "POSTGRES_USER": "shopkeeper", "POSTGRES_DB": "shop"},
    ports=(5432,),
    volumes={"/var/lib/postgresql": "shop_data"},
    needs=(),
)
WEB = Sighting(
    service="web",
    container="shop-web-1",
    image="registry.example/team/shop:2026-11",
    env_names=("DATABASE_URL",),
    ports=(8000,),
    published={"8000": 18000},
    needs=(),
)


def drafted(*sightings: Sighting, **answers: str) -> Draft:
    given = {name.replace("__", "."): value for name, value in answers.items()}
    return draft(Inventory(project="shop", sightings=sightings), "shop", given)


def parsed(found: Draft) -> Stack:
    return parse_stack(stack_text(found), "shop.yaml")[0]


def asked(found: Draft) -> list[str]:
    return [question.id for question in found.questions]


def compose_sightings() -> list[Sighting]:
    """Describe the lab's compose file as Docker would describe its containers."""
    found = []
    for name, service in yaml.safe_load(LAB.read_text())["services"].items():
        environment: dict[str, Any] = service.get("environment", {})
        inside = [int(str(port).rpartition(":")[2]) for port in service.get("ports", ())]
        found.append(
            Sighting(
                service=name,
                container=f"nchat_{name}",
                image=f"dr-lab/{name}:0123456789ab",
                env_names=tuple(environment),
                facts={
                    "PGDATA": "/var/lib/postgresql/data",
                    "POSTGRES_USER": "postgres",
                    "POSTGRES_DB": "nchat",
                }
                if name == "postgres"
                else {},
                ports=tuple(inside),
                published={str(port): 10000 + port for port in inside},
                needs=tuple(service.get("depends_on", ())),
                volumes={"/var/lib/postgresql/data": "dr-lab_postgres_data"} if name == "postgres" else {},
            )
        )
    return found


def test_a_chat_stack_is_drafted_as_people_wrote_it_down() -> None:
    found = draft(Inventory(project="dr-lab", sightings=tuple(compose_sightings())), "lab", {})
    written, known = parsed(found), parse_stack(STACK.read_text(), "stack.yaml")[0]
    assert list(written.services) == sorted(known.services)
    for name, service in known.services.items():
        mine = written.services[name]
        assert (mine.kind, mine.port) == (service.kind, service.port), name
        # The account of Auth's probe is nobody's but the operator's to name.
        if service.kind is not Kind.AUTH:
            assert (mine.password, mine.secrets) == (service.password, service.secrets), name
    server = written.services["postgres"]
    assert (server.user, server.database) == ("postgres", "nchat")
    assert (written.journey.entrance, written.journey.port) == ("nginx", 80)
    assert asked(found) == ["account.auth", "account_password.auth", "objective", "self_approval", "journey"]


def test_what_only_people_know_is_asked_in_the_file_and_until_then_it_can_be_read() -> None:
    found = drafted(SERVER, WEB)
    text = stack_text(found)
    assert parsed(found).services["web"].kind is Kind.OTHER
    assert asked(found) == ["kind.web", "objective", "self_approval", "journey"]
    for question in found.questions:
        assert sum(f"# ASK: {question.asks}" in line for line in text.splitlines()) == 1
    assert parsed(found).gates["swap"].self_approval == "refused"
    assert parsed(found).journey.calls == ()


def test_answers_take_the_place_of_questions() -> None:
    found = drafted(
        SERVER,
        WEB,
        kind__web="functions",
        objective="20m, 1m",
        self_approval="allowed",
        journey="POST /orders done",
    )
    stack = parsed(found)
    assert asked(found) == []
    assert "ASK:" not in stack_text(found).replace("begin with ASK:", "")
    assert stack.services["web"].kind is Kind.FUNCTIONS
    assert stack.scenarios["database_corruption"].rto.total_seconds() == 1200
    assert stack.gates["swap"].self_approval == "allowed"
    (call,) = stack.journey.calls
    assert (call.name, call.method, call.path, call.expect_text) == ("send", "POST", "/orders", "done")
    assert (stack.journey.entrance, stack.journey.port) == ("web", 8000)


@pytest.mark.parametrize(
    ("question", "answer", "code"),
    [
        ("kind__web", "database", "answer-wrong"),
        ("objective", "soon", "answer-wrong"),
        ("journey", "orders", "answer-wrong"),
        ("colour", "blue", "answer-unknown"),
    ],
)
def test_an_answer_that_cannot_be_used_is_refused(question: str, answer: str, code: str) -> None:
    with pytest.raises(Refused) as error:
        drafted(SERVER, WEB, **{question: answer})
    assert error.value.code == code


def test_secrets_are_named_by_the_container_s_own_variables_or_their_files() -> None:
    cache = Sighting(
        service="cache", container="c", image="redis:7", env_names=("REDIS_PASSWORD",), ports=(6379,)
    )
    by_file = SERVER.model_copy(
        update={
            "env_names": ("POSTGRES_PASSWORD_FILE",),
            "secret_files": {"POSTGRES_PASSWORD_FILE": "/srv/shop/secrets/db"},
        }
    )
    services = parsed(drafted(by_file, cache)).services
    assert services["db"].password == "file:/srv/shop/secrets/db"
    assert services["cache"].password == "container:cache:REDIS_PASSWORD"


def test_an_account_that_stands_in_a_file_is_asked_for_and_not_taken_for_the_usual_one() -> None:
    by_file = SERVER.model_copy(
        update={
            "env_names": ("POSTGRES_USER_FILE", "POSTGRES_DB_FILE"),
            "facts": {"PGDATA": "/var/lib/postgresql"},
        }
    )
    assert {"user.db", "database.db"} <= set(asked(drafted(by_file)))
    found = drafted(by_file, user__db="keeper", database__db="shop")
    assert not {"user.db", "database.db"} & set(asked(found))
    assert (parsed(found).services["db"].user, parsed(found).services["db"].database) == ("keeper", "shop")


def test_an_account_is_read_from_the_variables_of_other_images_too() -> None:
    other = SERVER.model_copy(
        update={"facts": {"POSTGRESQL_USERNAME": "keeper", "POSTGRESQL_DATABASE": "shop"}}
    )
    found = parsed(drafted(other)).services["db"]
    assert (found.user, found.database) == ("keeper", "shop")


def test_a_password_that_only_the_arguments_hold_is_asked_for_and_may_be_another_service_s_variable() -> None:
    cache = Sighting(service="cache", container="c", image="redis:7", ports=(6379,), wants_password=True)
    assert "password.cache" in asked(drafted(SERVER, cache))
    shared = WEB.model_copy(update={"env_names": ("REDIS_PASSWORD",)})
    found = drafted(SERVER, cache, shared)
    assert "password.cache" not in asked(found)
    assert parsed(found).services["cache"].password == "container:web:REDIS_PASSWORD"


def test_a_secret_given_as_an_answer_is_refused_and_not_repeated() -> None:
    cache = Sighting(service="cache", container="c", image="redis:7", ports=(6379,), wants_password=True)
    with pytest.raises(Refused) as error:
        drafted(SERVER, cache, password__cache="hunter2-canary")
    assert "hunter2-canary" not in str(error.value)


def test_the_label_s_graph_is_completed_by_the_known_order_and_by_what_variables_tell() -> None:
    hasura = Sighting(
        service="hasura", container="h", image="hasura/graphql-engine:v2", needs=("db",), ports=(8080,)
    )
    auth = Sighting(service="auth", container="a", image="nhost/hasura-auth:1", needs=("db",), ports=(4000,))
    services = parsed(drafted(SERVER, hasura, auth, WEB)).services
    assert services["hasura"].depends_on is None
    assert services["auth"].depends_on == ("db", "hasura")
    assert services["web"].depends_on == ("db",)


def test_an_edge_that_would_close_a_circle_with_the_labels_is_not_added() -> None:
    hasura = Sighting(
        service="hasura", container="h", image="hasura/graphql-engine:v2", needs=("auth",), ports=(8080,)
    )
    auth = Sighting(service="auth", container="a", image="nhost/hasura-auth:1", needs=("db",), ports=(4000,))
    services = parsed(drafted(SERVER, hasura, auth)).services
    assert services["auth"].depends_on is None
    assert services["hasura"].depends_on == ("auth", "db")


def test_two_servers_are_refused_until_a_person_says_which_one() -> None:
    second = SERVER.model_copy(update={"service": "analytics", "container": "shop-analytics-1"})
    with pytest.raises(Refused, match="analytics, db") as error:
        drafted(SERVER, second)
    assert error.value.code == "which-database"
    services = parsed(drafted(SERVER, second, database="db")).services
    assert (services["db"].kind, services["analytics"].kind) == (Kind.POSTGRES, Kind.OTHER)


def test_a_server_whose_name_no_file_can_hold_is_named_in_the_refusal() -> None:
    server = Sighting(service="_database", container="s", image="postgres:17")
    with pytest.raises(Refused, match=r"left out: _database: a stack file cannot hold such a name") as error:
        drafted(server, WEB)
    assert error.value.code == "no-database"


def test_a_project_without_a_known_server_is_refused_until_one_is_named() -> None:
    own = Sighting(service="store", container="s", image="team/own-database:1")
    with pytest.raises(Refused) as error:
        drafted(own, WEB)
    assert error.value.code == "no-database"
    assert parsed(drafted(own, WEB, database="store")).services["store"].kind is Kind.POSTGRES


def test_a_pooler_on_the_server_s_port_is_not_taken_for_the_server() -> None:
    pooler = Sighting(service="pooler", container="p", image="edoburu/pgbouncer:1", ports=(5432,))
    assert parsed(drafted(SERVER, pooler)).services["pooler"].kind is Kind.OTHER


@pytest.mark.parametrize("image", ["prom/postgres-exporter", "oliver006/redis_exporter", "team/nginx-logs"])
def test_a_name_that_only_contains_a_known_one_is_not_that_service(image: str) -> None:
    assert recognise(Sighting(service="x", container="x", image=image)).kind is Kind.OTHER


def test_jobs_that_ended_well_and_names_that_a_file_cannot_hold_are_left_out_and_said_so() -> None:
    job = Sighting(service="migrate", container="m", image="team/shop:1", state="exited", job=True)
    odd = Sighting(service="-web", container="o", image="team/shop:1")
    found = drafted(SERVER, job, odd)
    assert set(parsed(found).services) == {"db"}
    assert [line.partition(":")[0] for line in found.left_out] == ["-web", "migrate"]


def test_names_with_capitals_and_dots_stand_in_the_file_wherever_a_service_is_named() -> None:
    server = SERVER.model_copy(update={"service": "My.Database"})
    web = WEB.model_copy(update={"service": "Web.Two", "needs": ("My.Database",)})
    found = drafted(server, web, entrance="Web.Two", journey="GET / shop")
    stack = parsed(found)
    assert set(stack.services) == {"My.Database", "Web.Two"}
    assert stack.services["My.Database"].password == "container:My.Database:POSTGRES_PASSWORD"
    assert stack.journey is not None
    assert stack.journey.entrance == "Web.Two"
    assert any("PGDATA" in line for line in found.remarks["services.My.Database"])
    assert "# PGDATA" in stack_text(found)


def test_data_outside_a_named_volume_is_marked() -> None:
    found = drafted(SERVER.model_copy(update={"volumes": {"/var/lib/postgresql/data": "shop_data"}}))
    assert any("is in no named volume" in line for line in found.remarks["services.db"])


PLACES = ("image", "container", "service", "volume")
HOSTILE = (
    "\n\rstack: other",
    "\x1b[2J",
    "'; DROP",
    "{{ 7*7 }}",
    "*alias",
    "&anchor x",
    "!!python/object:os.system",
)


@pytest.mark.parametrize(("text", "place"), list(itertools.product(HOSTILE, PLACES)))
def test_what_containers_are_called_cannot_write_into_the_file(text: str, place: str) -> None:
    """Labels and names are written by whoever runs a container."""
    web = WEB if place == "volume" else WEB.model_copy(update={place: text})
    twin = WEB.model_copy(update={"container": text})
    server = SERVER.model_copy(
        update={"volumes": {"/var/lib/postgresql": text}, "facts": {"POSTGRES_DB": text}}
    )
    found = drafted(server, web, twin)
    stack = parsed(found)
    assert stack.stack == "shop"
    assert stack.services["db"].database == text
    assert "\x1b" not in stack_text(found)
