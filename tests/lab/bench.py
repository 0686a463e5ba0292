"""What the contract tests say to their lab.

``DR_LAB_HASURA_URL``, ``DR_LAB_AUTH_URL``, ``DR_LAB_MEILISEARCH_URL`` and ``DR_LAB_MINIO_URL`` point the same
tests at real programs; tests that stop a container are skipped for those.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import psycopg
import pytest

from infra.lab.lab import Lab

Answer = TypeVar("Answer")


def until(ask: Callable[[], Answer], seconds: float = 60) -> Answer:
    """Return the first answer that is true."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
    return answer


class Bench:
    """The lab under test."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.env = lab.environment()

    def client(self, service: str) -> httpx.Client:
        """Return a client of a service, the lab's or the one that the environment names."""
        url = os.environ.get(f"DR_LAB_{service.upper()}_URL", self.lab.url(service))
        return httpx.Client(base_url=url, timeout=15, trust_env=False)

    def own(self, service: str) -> None:
        """Skip a test that changes the container of a service when that is not ours."""
        if f"DR_LAB_{service.upper()}_URL" in os.environ:
            pytest.skip(f"{service} is not the lab's own")

    def sql(self, query: str, *values: object) -> list[tuple[object, ...]]:
        """Run SQL on the database."""
        with psycopg.connect(self.lab.dsn(), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def token(self, name: str = "user") -> str:
        """Return the access token of a demo account."""
        body = {"email": f"{name}@nself.org", "password": self.env["LAB_USER_PASSWORD"]}
        with self.client("auth") as client:
            said = client.post("/signin/email-password", json=body)
        said.raise_for_status()
        return str(said.json()["session"]["accessToken"])

    def serves(self) -> bool:
        """Say whether the database answers over its published port."""
        try:
            return self.sql("SELECT 1") == [(1,)]
        except psycopg.Error:
            return False

    @contextmanager
    def stopped(self, service: str) -> Iterator[None]:
        """Keep a service stopped for a while."""
        self.own(service)
        container = self.lab.container(service)
        container.stop(timeout=30)
        try:
            yield
        finally:
            container.start()
            until(lambda: self.lab.status()[service] == "running (healthy)", 90)
