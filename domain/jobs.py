"""The jobs that schedules start: what each runs, under which lock, and when it usually does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Job(StrEnum):
    """A job of ``backup.schedules``; its schedule has the id ``<stack>/<job>``."""

    POSTGRES_WAL = "postgres-wal"
    POSTGRES_BASE = "postgres-base"
    POSTGRES_DAILY = "postgres-daily"
    POSTGRES_WEEKLY = "postgres-weekly"
    REDIS = "redis"
    MINIO = "minio"
    MEILISEARCH = "meilisearch"
    HASURA = "hasura"
    STACK = "stack"
    OFFSITE = "offsite"
    VERIFICATION = "verification"
    RETENTION = "retention"


@dataclass(frozen=True)
class Work:
    """What a job runs."""

    service: str
    kind: str
    """With the service the rest of the workflow id ``backup/<stack>/<service>/<kind>``, which is its lock."""
    usual: str
    """When it runs unless the stack file says another time."""
    says: str
    """The comment of its calendar."""
    workflow: str = ""
    """Empty while nothing does it yet: its schedule is made, and paused."""
    request: Mapping[str, str] = field(default_factory=dict)
    """What the workflow is given besides stack, reason and scheduled time."""
    needs: str = ""
    """The kind of service without which there is nothing to do."""
    frequent: bool = False
    """It runs so often that its runs are kept small: it finds out itself whether a recovery was left open."""


WORK: Mapping[Job, Work] = {
    Job.POSTGRES_WAL: Work(
        service="postgres",
        kind="wal",
        usual="*/5 * * * *",
        says="WAL is streamed into the archive, and the archive is whole, every five minutes",
        workflow="ArchiveWal",
        frequent=True,
    ),
    Job.POSTGRES_BASE: Work(
        service="postgres",
        kind="base",
        usual="0 1 * * *",
        says="base backup, every day",
        workflow="BaseBackup",
    ),
    Job.POSTGRES_DAILY: Work(
        service="postgres",
        kind="daily",
        usual="0 2 * * *",
        says="dump of every database with globals, every day",
        workflow="Dump",
        request={"kind": "daily"},
    ),
    Job.POSTGRES_WEEKLY: Work(
        service="postgres",
        kind="weekly",
        usual="0 3 * * 0",
        says="dump of every database with globals, kept for long, on Sundays",
        workflow="Dump",
        request={"kind": "weekly"},
    ),
    Job.REDIS: Work(
        service="redis",
        kind="all",
        usual="10 * * * *",
        says="snapshot and append-only files, every hour",
        workflow="RedisBackup",
        needs="redis",
    ),
    Job.MINIO: Work(
        service="minio",
        kind="copy",
        usual="25 * * * *",
        says="copy of the objects to the second store, every hour",
        workflow="ObjectsBackup",
        needs="objects",
    ),
    Job.MEILISEARCH: Work(
        service="meilisearch",
        kind="all",
        usual="30 4 * * *",
        says="snapshot and dump of the search index, every day",
        workflow="SearchBackup",
        needs="search",
    ),
    Job.HASURA: Work(
        service="hasura",
        kind="metadata",
        usual="15 4 * * *",
        says="metadata of Hasura, every day",
        workflow="MetadataBackup",
        needs="hasura",
    ),
    Job.STACK: Work(
        service="stack",
        kind="configuration",
        usual="20 4 * * *",
        says="configuration and secrets of the stack, encrypted, every day",
        workflow="ConfigurationBackup",
    ),
    Job.OFFSITE: Work(
        service="offsite",
        kind="copy",
        usual="0 5 * * *",
        says="copy of finished backups to the other site, every day",
        workflow="OffsiteCopy",
    ),
    Job.VERIFICATION: Work(
        service="all",
        kind="verification",
        usual="0 6 * * *",
        says="every due backup is there and can be restored, every day",
        workflow="BackupVerification",
    ),
    Job.RETENTION: Work(
        service="all",
        kind="retention",
        usual="30 7 * * *",
        says="removal of what the policy no longer keeps, every day",
        workflow="Retention",
    ),
}


def schedule_id(stack: str, job: Job) -> str:
    """Return the id of a job's schedule."""
    return f"{stack}/{job.value}"


def lock_of(stack: str, job: Job) -> str:
    """Return the workflow id under which a job runs, by schedule and by hand: holding it is the lock."""
    work = WORK[job]
    return f"backup/{stack}/{work.service}/{work.kind}"
