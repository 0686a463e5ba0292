"""Damages the lab's database for real, and says what PostgreSQL itself said of it."""

from __future__ import annotations

from activities.containers import Containers
from activities.engine import Engine
from activities.faults import DamageOrder, Faults, Injected
from activities.postgres.sql import Sql
from activities.secrets import Secrets
from domain.order import StackOrder, Target, TargetOrder
from worker.settings import Settings, environment
from worker.wiring import docker_client


def faults_of(settings: Settings, stack: str = "") -> tuple[Faults, Target]:
    """Return the injections and the resolved stack of these settings."""
    engine = Engine(docker_client())
    sql = Sql(Secrets(engine, environment()))
    stacks = settings.stacks()
    containers = Containers(engine, stacks, stack or next(iter(stacks)), settings.state)
    return Faults(engine, sql), containers.observe_stack(StackOrder(stack=stack)).target


def damage_pages(settings: Settings, stack: str = "") -> str:
    """Overwrite pages of the chat's largest table under the running server; return the evidence."""
    faults, target = faults_of(settings, stack)
    return faults.inject_damaged_pages(DamageOrder(target=target)).sentence


def destroy_control_file(settings: Settings, stack: str = "") -> Injected:
    """Stop the server and destroy its ``pg_control``; return the evidence."""
    faults, target = faults_of(settings, stack)
    return faults.inject_control_file_destroyed(TargetOrder(target=target))
