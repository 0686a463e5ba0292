import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Refused
from domain.graph import dependents_of, start_waves
from domain.order import ServiceTarget
from domain.stack import Kind


def service(name: str, *needs: str) -> ServiceTarget:
    return ServiceTarget(
        name=name,
        kind=Kind.OTHER,
        container_id=name,
        container_name=name,
        image="",
        image_id="",
        state="running",
        depends_on=needs,
    )


CHAT = (
    service("nginx", "hasura", "auth"),
    service("auth", "hasura", "postgres"),
    service("functions", "postgres", "hasura"),
    service("hasura", "postgres"),
    service("postgres"),
    service("redis"),
)


def test_services_start_in_waves_after_what_they_need() -> None:
    assert start_waves(CHAT) == (("postgres", "redis"), ("hasura",), ("auth", "functions"), ("nginx",))


def test_the_order_holds_for_a_part_whose_links_are_left_out() -> None:
    assert start_waves(CHAT, ["nginx", "postgres"]) == (("postgres",), ("nginx",))


def test_dependents_are_found_through_others() -> None:
    assert dependents_of(CHAT, "postgres") == ("hasura", "auth", "functions", "nginx")
    assert dependents_of(CHAT, "auth") == ("nginx",)
    assert dependents_of(CHAT, "redis") == ()


def test_a_dependency_that_is_not_there_is_left_out() -> None:
    assert start_waves((service("api", "gone"),)) == (("api",),)


def test_a_circle_is_refused_and_named() -> None:
    with pytest.raises(Refused, match="circle") as error:
        start_waves((service("a", "b"), service("b", "a")))
    assert error.value.code == "dependency-cycle"


@given(st.lists(st.sets(st.integers(min_value=0, max_value=11)), max_size=12))
def test_everything_starts_once_and_never_before_what_it_needs(needs: list[set[int]]) -> None:
    # A service needs earlier ones only, so there is no circle.
    services = [service(f"s{n}", *(f"s{m}" for m in sorted(needs[n]) if m < n)) for n in range(len(needs))]
    waves = start_waves(services)
    wave_of = {name: number for number, wave in enumerate(waves) for name in wave}
    assert sorted(name for wave in waves for name in wave) == sorted(one.name for one in services)
    assert all(wave_of[need] < wave_of[one.name] for one in services for need in one.depends_on)
