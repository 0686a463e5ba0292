"""From ``dr init`` to a recovery, on a stack that nobody shaped for ``dr``."""

from dataclasses import dataclass
from typing import Any

import docker
import pytest

from activities.containers import Containers
from activities.faults import DamageOrder, Faults
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.names import LABEL_ROLE, LABEL_STACK
from domain.order import StackOrder
from domain.stack import Kind
from domain.stack_file import parse_stack
from tests.e2e.stand import Said, until
from tests.other.shop_stand import UID, ShopStand

ANSWERS = ("kind.web=functions", "objective=10m, 1m", "journey=POST /orders thank you")


@dataclass(frozen=True)
class Drafted:
    """What ``dr init`` said, first without answers and then with them."""

    unanswered: Said
    first_text: str
    doubted: Said
    again: Said
    answered: Said


@dataclass(frozen=True)
class Story:
    """One whole recovery with what was seen before and after."""

    neighbour: dict[str, str]
    invoices: str
    orders: list[int]
    counted: int
    rules: str
    report: dict[str, Any]


@pytest.fixture(scope="module")
def drafted(shop: ShopStand) -> Drafted:
    words = ("init", "--project", shop.project, "--stack", shop.name)
    unanswered = shop.dr(*words)
    text = shop.stack_file.read_text()
    doubted = shop.dr("doctor")
    again = shop.dr(*words)
    given = [word for answer in ANSWERS for word in ("--answer", answer)]
    return Drafted(unanswered, text, doubted, again, shop.dr(*words, "--force", *given))


@pytest.fixture(scope="module")
def story(shop: ShopStand, drafted: Drafted) -> Story:
    assert drafted.answered.code == 0, drafted.answered
    neighbour, rules = shop.neighbour_as_it_is(), rules_of(shop)
    # The ledger waited for a stack file.
    assert shop.dr("up").code == 0
    shop.take_backup()
    shop.rows("INSERT INTO invoices (total, note) VALUES (7, 'after the backup')", "billing")
    orders = [shop.order() for _ in range(5)]
    invoices = shop.invoices()
    journal = shop.state / "ledger" / shop.name / "postgres.jsonl"
    until(lambda: journal.is_file() and "acknowledged" in journal.read_text(), "an acknowledged marker")
    damage(shop)
    report = shop.to_the_end(shop.recover())
    counted = shop.orders_counted()
    return Story(neighbour, invoices, orders, counted, rules, report)


def damage(shop: ShopStand) -> None:
    hands = Containers(shop.engine, {shop.name: shop.stack_file}, shop.name, shop.state)
    target = hands.observe_stack(StackOrder()).target
    sql = Sql(Secrets(shop.engine, shop.environment))
    Faults(shop.engine, sql).inject_damaged_pages(DamageOrder(target=target, table="orders"))


def rules_of(shop: ShopStand) -> str:
    return str(
        shop.rows("SELECT type, database, user_name, auth_method FROM pg_hba_file_rules ORDER BY 1, 2")
    )


def test_a_draft_says_what_it_could_not_tell_and_can_be_read_all_the_same(
    shop: ShopStand, drafted: Drafted
) -> None:
    said = drafted.unanswered
    assert said.code == 0, said
    assert said.data["services"] == {"Cache.1": "redis", "db": "postgres", "web": "other"}
    assert [asked["id"] for asked in said.data["questions"]] == [
        "kind.web",
        "objective",
        "self_approval",
        "journey",
    ]
    assert said.data["left_out"] == ["migrate: a job that ended well"]
    stack = parse_stack(drafted.first_text, "drafted")[0]
    server = stack.services["db"]
    assert (server.kind, server.user, server.database) == (Kind.POSTGRES, "shopkeeper", "shop")
    assert server.password == f"file:{shop.folder / shop.project / 'db_password'}"
    assert stack.services["Cache.1"].password == "container:Cache.1:REDIS_PASSWORD"
    assert (stack.journey.entrance, stack.journey.port) == ("web", 8000)
    for question in said.data["questions"]:
        assert f"# ASK: {question['asks']}" in drafted.first_text


def test_the_doctor_runs_on_a_draft_and_is_red_for_what_is_asked_and_what_is_missing(
    drafted: Drafted,
) -> None:
    said = drafted.doubted
    assert said.code == 5, said
    red = {proof["name"]: proof["evidence"] for proof in said.data["proofs"] if proof["passed"] is not True}
    assert {"questions in the stack file", "WAL receiver", "backups"} <= set(red)
    assert not {"stack file", "db", "Cache.1", "web"} & set(red)
    assert red["questions in the stack file"].startswith("4 open")


def test_a_file_that_is_there_is_not_overwritten_unasked(drafted: Drafted) -> None:
    assert drafted.again.code == 5, drafted.again
    assert drafted.again.error["code"] == "file-exists"


def test_at_a_terminal_each_question_is_asked_until_it_is_answered_or_passed_over(
    shop: ShopStand, drafted: Drafted
) -> None:
    path = shop.state / "asked.yaml"
    typed = ("functions", "soon", "10m, 1m", "", "POST /orders")
    said = shop.at_a_terminal("init", "--project", shop.project, "--out", str(path), lines=typed)
    assert said.code == 0, said
    assert "objective=soon: wanted is two durations" in " ".join(said.progress.split())
    stack = parse_stack(path.read_text(), "asked")[0]
    assert stack.services["web"].kind is Kind.FUNCTIONS
    assert stack.scenarios["database_corruption"].rto.total_seconds() == 600
    assert [call.path for call in stack.journey.calls] == ["/orders"]
    # Passed over: the file says so, and the safe side holds.
    assert stack.gates["swap"].self_approval == "refused"
    assert [line for line in path.read_text().splitlines() if line.endswith("[self_approval]")]


def test_an_unknown_project_is_refused_with_those_that_are_there(shop: ShopStand, drafted: Drafted) -> None:
    said = shop.dr("init", "--project", shop.project[:-1], "--stack", "nobody")
    assert said.code == 5, said
    assert said.error["code"] == "project-unknown"
    assert shop.project in said.error["what"]
    assert shop.neighbour in said.error["what"]


def test_damaged_pages_are_recovered_without_losing_an_order_or_a_marker(
    shop: ShopStand, story: Story
) -> None:
    report = story.report
    assert report["outcome"] == "recovered", report["rule"]
    assert report["loss"]["postgres"]["markers_lost"] == 0
    assert report["loss"]["postgres"]["markers_acknowledged"] > 0
    assert report["loss"]["redis"]["markers_lost"] == 0
    assert not [check for check in report["checks"] if check["passed"] is False]
    listed = ", ".join(map(str, story.orders))
    assert shop.rows(f"SELECT count(*) FROM orders WHERE id IN ({listed})") == [(5,)]  # noqa: S608 - numbers
    assert shop.rows("SELECT count(*) > 40000 FROM orders") == [(True,)]
    assert story.counted >= 5


def test_the_second_database_is_as_it_was_and_was_looked_at(shop: ShopStand, story: Story) -> None:
    assert shop.invoices() == story.invoices
    looked_at = {check["name"] for check in story.report["checks"] if check["passed"]}
    assert {"amcheck billing", "full read billing"} <= looked_at


def test_data_keeps_its_owner_and_every_door_its_password(shop: ShopStand, story: Story) -> None:
    look = "stat -c %u:%g:%a /var/lib/postgresql /var/lib/postgresql/17/main"
    owners = shop.container("db").exec_run(["sh", "-c", look]).output.decode().split()
    assert [owner.rpartition(":")[0] for owner in owners] == [f"{UID}:{UID}"] * 2
    assert owners[1].endswith(":700")
    assert "trust" not in story.rules
    assert rules_of(shop) == story.rules


def test_the_project_with_the_similar_name_never_changed(shop: ShopStand, story: Story) -> None:
    assert shop.neighbour_as_it_is() == story.neighbour


def test_nothing_of_the_recovery_runs_on(shop: ShopStand, story: Story) -> None:
    mine = shop.client.containers.list(all=True, filters={"label": f"{LABEL_STACK}={shop.name}"})
    assert {container.labels[LABEL_ROLE] for container in mine} == {"keeper", "receiver"}
    policies = {
        service: shop.container(service).attrs["HostConfig"]["RestartPolicy"]["Name"]
        for service in ("db", "Cache.1", "web")
    }
    assert set(policies.values()) == {"always"}


def test_no_password_is_in_what_dr_wrote_or_made(shop: ShopStand, story: Story) -> None:
    secrets = (shop.password, shop.cache_password)
    shelf, projects = shop.state / f"shelf-{shop.name}", shop.folder
    for path in sorted(shop.state.rglob("*")):
        if not path.is_file() or projects in path.parents or shelf in path.parents:
            continue
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path
    for container in shop.client.containers.list(all=True, filters={"label": f"{LABEL_STACK}={shop.name}"}):
        assert not any(secret in str(container.attrs) for secret in secrets), container.name
    assert story.report["recovery_id"]


def test_a_release_leaves_only_what_the_stack_had(shop: ShopStand, story: Story) -> None:
    kept = story.report["kept_aside"][0]["volume"]
    assert shop.dr("release", story.report["recovery_id"], "--yes").code == 0
    with pytest.raises(docker.errors.NotFound):
        shop.client.volumes.get(kept)
