"""The configuration of a stack: everything beside the data that it needs in order to start. Pure."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Literal

from domain.holdings import SAMPLES, Holding, Sample
from domain.order import Outcome, TargetOrder, Value
from domain.recovery import Proof
from domain.sealing import BackupKey

MANIFEST = "configuration.json"
"""Name of the list in the archive."""
PROJECT = "project"
"""Below it lies what was below the project's working directory."""
OUTSIDE = "outside"
"""Below it lies what was elsewhere, by its whole path."""
STACK_FILE = "stack.yaml"
SECRETS = "secrets.json"
WHOLE = "(project)"
"""The group of what belongs to no service alone; no service can have this name."""
_DIGESTS = b"dr digests of what is held 1\x00"
_NAMED = 5


class KeptFile(Value):
    """One file, where it was, and what it is called in the archive."""

    member: str
    path: str
    mode: int
    link: str = ""
    """Where it leads, when it is a link; what is there is a member too."""


class KeptService(Value):
    """One service as it ran."""

    name: str
    image: str
    image_id: str
    digests: tuple[str, ...] = ()
    """Under which a registry has the image; empty for one that was built here."""
    files: tuple[str, ...] = ()
    """Members: what it had mounted."""
    variables: tuple[str, ...] = ()

    @property
    def member(self) -> str:
        """Return the name of what its container was made with."""
        return f"containers/{self.name}.json"


class Configuration(Value):
    """What an archive holds."""

    version: Literal[1] = 1
    stack: str
    project: str
    working_dir: str
    compose: tuple[str, ...] = ()
    """Members that are the Compose files, in their order."""
    env_files: tuple[str, ...] = ()
    """Members that fill in the variables of the Compose files, in their order."""
    files: tuple[KeptFile, ...] = ()
    services: tuple[KeptService, ...] = ()
    references: tuple[str, ...] = ()
    """Of the secrets whose values are kept, as the stack file names them."""
    lacks: tuple[str, ...] = ()
    """What belongs to it and could not be kept, a sentence each."""
    left_out: tuple[str, ...] = ()
    """What was mounted and is no configuration: data, or what every host has to have."""


class ExtractOrder(TargetOrder):
    """Open a backup of the configuration into a new directory."""

    entry_id: str = ""
    """Empty means the newest."""
    to: str
    """Absolute path on the host; it must not be there, or be empty."""


class Extracted(Outcome):
    """What was opened, and where it lies in clear now."""

    directory: str
    files: int


def keyed_digest(key: BackupKey, *parts: bytes) -> str:
    """Return a digest that says nothing to anybody without the key: short secrets could be guessed else."""
    derived = hmac.new(key.secret, _DIGESTS, hashlib.sha256).digest()
    whole = hmac.new(derived, digestmod=hashlib.sha256)
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def group(key: BackupKey, name: str, things: Mapping[str, bytes]) -> Holding:
    """Return one group of what is held: names in clear, contents as keyed digests."""
    samples = [Sample(name=one, digest=keyed_digest(key, content)) for one, content in sorted(things.items())]
    lines = "\n".join(f"{one.name}\t{one.digest}" for one in samples)
    whole = keyed_digest(key, lines.encode())
    return Holding(name=name, count=len(samples), digest=whole, samples=tuple(samples[:SAMPLES]))


def vanished(before: Iterable[Holding], now: Iterable[Holding]) -> tuple[str, ...]:
    """Return what an earlier backup held and a new one does not: removed on purpose, or lost."""
    there = {(one.name, sample.name) for one in now for sample in one.samples}
    return tuple(
        f"{sample.name} of {one.name}"
        for one in before
        for sample in one.samples
        if (one.name, sample.name) not in there
    )


def no_lack(name: str, lacks: Iterable[str], evidence: str, *, seen: int) -> Proof:
    """Return a proof that names every lack; of nothing that was seen nothing is proven."""
    found = list(lacks)
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return Proof(name=name, passed=False, evidence="; ".join(found[:_NAMED]) + more)
    return Proof(name=name, passed=bool(seen), evidence=evidence if seen else "there is none")


def judge_services(kept: Configuration, resolved: Iterable[str]) -> Proof:
    """Judge whether every service that ran is one that the Compose files start."""
    known = set(resolved)
    lacks = [f"{one.name} ran, and no Compose file has it" for one in kept.services if one.name not in known]
    said = f"the {len(kept.services)} services that ran are in the Compose files"
    return no_lack("services", lacks, said, seen=len(kept.services))


def judge_images(kept: Configuration) -> Proof:
    """Judge whether the image of every service is named so that no other can be meant."""
    lacks = [f"the image of {one.name} has no digest" for one in kept.services if not _pinned(one)]
    built = sum(not one.digests for one in kept.services)
    said = f"{len(kept.services)} images by their digest" + (f", {built} of them built here" if built else "")
    return no_lack("images", lacks, said, seen=len(kept.services))


def judge_secrets(references: Iterable[str], values: Mapping[str, str]) -> Proof:
    """Judge whether every secret that the stack file needs is there."""
    wanted = sorted(set(references))
    lacks = [f"the secret {one} is missing" for one in wanted if not values.get(one)]
    return no_lack("secrets", lacks, f"{len(wanted)} that the stack file names are there", seen=len(wanted))


def judge_environment(kept: Configuration, variables: Mapping[str, Iterable[str]]) -> Proof:
    """Judge whether the variables of every service's container are there; ``variables`` is what is."""
    lacks = []
    for service in kept.services:
        there = set(variables.get(service.name, ()))
        lacks += [
            f"the variable {name} of {service.name} is missing"
            for name in service.variables
            if name not in there
        ]
    count = sum(len(service.variables) for service in kept.services)
    return no_lack("environment", lacks, f"{count} variables of {len(kept.services)} services", seen=count)


def _pinned(service: KeptService) -> bool:
    return bool(service.digests) or service.image_id.startswith("sha256:")
