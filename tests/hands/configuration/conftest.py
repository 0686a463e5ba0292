"""A small Compose project on the real engine, with files, secrets and a stack file of its own."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest

from activities.backup_keys import BackupKeys
from activities.configuration_backup import ConfigurationBackups
from activities.configuration_compose import Compose
from activities.configuration_extract import ConfigurationExtracting
from activities.configuration_proof import ConfigurationProofs
from activities.engine import Engine
from activities.secrets import Secrets
from activities.tokens import Tokens
from domain.dumps import EntryTargetOrder, RestoreProven
from domain.entries import Entry
from domain.order import Target
from domain.store_backups import StoreBackupOrder
from tests.hands.images import lab_image
from tests.hands.targets import bare_target

JWT = "jwt-key-of-a-test-0123456789"
PASSWORD = "password-of-a-test"
TLS = "what would be a key-of-a-test\n"
SECRETS = (JWT, PASSWORD, "key-of-a-test", "mail-password-of-a-test")
COMPOSE = """
x-service: &service
  image: ${IMAGE:?}
  entrypoint: [sleep, infinity]
  network_mode: none
  stop_grace_period: 0s
services:
  db:
    <<: *service
    environment: {POSTGRES_PASSWORD: "${DB_PASSWORD}"}
  web:
    <<: *service
    env_file: mail.env
    environment: {JWT_KEY: "${JWT_KEY}", MODE: "plain $$ text"}
    volumes:
      - ./conf/web.conf:/etc/web.conf:ro
      - ./tls:/etc/tls:ro
      - ./data:/data
      - ${ELSEWHERE:?}/letsencrypt:/etc/letsencrypt:ro
      - ${ELSEWHERE:?}/rows:/rows
      - /etc/localtime:/etc/localtime:ro
      - named:/etc/named:ro
volumes:
  named:
    driver_opts: {type: none, o: bind, device: "${ELSEWHERE:?}/named"}
"""
STACK = """
version: 1
stack: shop
project: {project}
services:
  db: {{kind: postgres, password: "container:db:POSTGRES_PASSWORD"}}
  web: {{kind: functions, secrets: {{jwt: "container:web:JWT_KEY"}}}}
"""


@dataclass
class Stand:
    """The project that runs, and the hands that back it up."""

    engine: Engine
    project: str
    directory: Path
    shelf: Path
    state: Path
    elsewhere: Path
    """What lies outside the project's directory, and is mounted."""
    labels: list[str] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return bare_target(self.shelf, stack="shop", project=self.project)

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.state)

    def back_up(self, label: str = "") -> Entry:
        """Take a backup of its own, or the one that has the label."""
        known = Secrets(self.engine, dict(os.environ))
        stacks = {"shop": self.directory / "stack.yaml"}
        hand = ConfigurationBackups(self.engine, known, self.tokens, self.state, stacks)
        order = StoreBackupOrder(target=self.target, label=label or secrets.token_hex(4))
        (entry,) = hand.ensure_configuration_backup(order).entries
        return entry

    def verify(self, entry: Entry) -> RestoreProven:
        """Open a backup and judge it."""
        hand = ConfigurationProofs(self.tokens, self.state, Compose(dict(os.environ)))
        return hand.verify_configuration_restored(EntryTargetOrder(target=self.target, entry_id=entry.id))

    def extracting(self) -> ConfigurationExtracting:
        return ConfigurationExtracting(self.tokens, self.state)

    def clear_text(self) -> list[str]:
        """Return the files of the shelf and of our state in which a secret can be read."""
        return [
            str(path)
            for root in (self.shelf, self.state)
            for path in root.rglob("*")
            if path.is_file() and any(secret.encode() in path.read_bytes() for secret in SECRETS)
        ]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[str, Path]]:
    """Have Compose itself start the project, so that the labels are its own."""
    client = docker.from_env(timeout=60)
    image = lab_image(client, "redis")
    project = f"drtest-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(prefix="dr-conf-") as made:
        directory = Path(made, "shop")
        lay_out(directory, project, image)
        compose = [str(Path(sys.executable).parent / "docker-compose"), "--project-name", project]
        compose += ["--project-directory", str(directory)]
        try:
            subprocess.run([*compose, "up", "--detach", "--quiet-pull"], check=True, capture_output=True)
            yield project, directory
        finally:
            subprocess.run([*compose, "down", "--volumes"], check=False, capture_output=True)
            client.close()


@pytest.fixture
def stand(running: tuple[str, Path], tmp_path: Path) -> Iterator[Stand]:
    """Give out the project with an empty shelf and a key; its files are put back afterwards."""
    project, directory = running
    elsewhere = directory.with_name("elsewhere")
    files = [path for root in (directory, elsewhere) for path in root.rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mode & 0o777) for path in files}
    client = docker.from_env(timeout=60)
    state = tmp_path / "state"
    BackupKeys(state).new(datetime.now(UTC))
    try:
        yield Stand(Engine(client), project, directory, tmp_path / "shelf", state, elsewhere)
    finally:
        client.close()
        for path in sorted(directory.parent.rglob("*"), reverse=True):
            if path not in before and not path.is_dir():
                path.unlink()
        for path, (content, mode) in before.items():
            if path.is_symlink():
                path.unlink()
            path.write_bytes(content)
            path.chmod(mode)


def lay_out(directory: Path, project: str, image: str) -> None:
    """Write the files of the project."""
    elsewhere = directory.with_name("elsewhere")
    for path in (*(directory / name for name in ("conf", "tls", "data")), elsewhere / "rows"):
        path.mkdir(parents=True)
    (elsewhere / "letsencrypt").mkdir()
    (elsewhere / "letsencrypt/account.json").write_text("key-of-a-test of the account\n")
    (elsewhere / "named").mkdir()
    (elsewhere / "named/settings.conf").write_text("mounted by the name of a volume\n")
    files = {
        "compose.yaml": COMPOSE,
        ".env": f"IMAGE={image}\nDB_PASSWORD={PASSWORD}\nJWT_KEY={JWT}\nELSEWHERE={elsewhere}\n",
        "mail.env": "MAIL_PASSWORD=mail-password-of-a-test\n",
        "conf/web.conf": "listen 80;\n",
        "tls/cert.pem": "certificate\n",
        "tls/key.pem": TLS,
        "stack.yaml": STACK.format(project=project),
    }
    for name, text in files.items():
        (directory / name).write_text(text)
    (directory / "tls/key.pem").chmod(0o600)
