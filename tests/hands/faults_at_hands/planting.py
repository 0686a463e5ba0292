"""Services that a test plants beside the small chat stack, each with a program of its own, ill as wanted."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from activities.containers import Containers
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import StackOrder, Target
from tests.hands.chat_stack import ChatStack
from tests.hands.images import lab_image

SLEEPS = ("sleep", "infinity")


def plant(
    chat: ChatStack,
    service: str,
    command: Sequence[str] = SLEEPS,
    *,
    needs: Sequence[str] = (),
    image: str = "redis",
    project: str = "",
    name: str = "",
    start: bool = True,
    **more: Any,
) -> str:
    """Create a container labelled as compose labels it, and return its id; ``more`` goes to Docker."""
    owner = project or chat.project
    labels = {COMPOSE_PROJECT: owner, COMPOSE_SERVICE: service, "com.docker.compose.oneoff": "False"}
    if needs:
        labels["com.docker.compose.depends_on"] = ",".join(f"{one}:service_started:false" for one in needs)
    made = chat.client.containers.create(
        lab_image(chat.client, image),
        list(command),
        entrypoint=[],
        name=name or f"{owner}-{service}-1",
        labels=labels,
        init=True,
        network=f"{chat.project}_default",
        **more,
    )
    if start:
        made.start()
    return str(made.id)


@contextmanager
def planted(chat: ChatStack, *ids: str) -> Iterator[None]:
    """Remove planted containers afterwards, by their ids."""
    try:
        yield
    finally:
        for container in ids:
            chat.client.api.remove_container(container, force=True, v=True)


def resolved(chat: ChatStack, services: Mapping[str, str]) -> Target:
    """Resolve the stack with more services in its file: name to the rest of its entry."""
    added = "".join(f"  {name}: {{{entry}}}\n" for name, entry in services.items())
    file = chat.directory / "planted.yaml"
    file.write_text(chat.file.read_text().replace("services:\n", f"services:\n{added}", 1))
    hand = Containers(chat.engine, {"lab": file}, "lab", chat.directory / "state")
    return hand.observe_stack(StackOrder(stack="lab", recovery_id=chat.project)).target
