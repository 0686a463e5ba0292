"""Builds the clients, and hands them to the hands."""

import time
from collections.abc import Callable
from typing import Any

import docker
import structlog
from docker.errors import DockerException
from temporalio.client import Client

from activities.clocks import Clocks
from activities.configuration_backup import ConfigurationBackups
from activities.configuration_compose import Compose
from activities.configuration_extract import ConfigurationExtracting
from activities.configuration_proof import ConfigurationProofs
from activities.containers import Containers
from activities.due import Schedules
from activities.engine import Engine
from activities.hasura import Hasura
from activities.history import Histories
from activities.host import Host
from activities.inventory import Inventories
from activities.ledger import Ledger
from activities.metadata_backup import MetadataBackups
from activities.metadata_proof import MetadataProofs
from activities.metadata_restore import MetadataRestoring
from activities.notify import Channels
from activities.objects_backup import ObjectBackups
from activities.objects_proof import ObjectsProof
from activities.objects_restore import ObjectsRestoring
from activities.objects_side import ObjectsSide
from activities.offsite import OffsiteCopies
from activities.offsite_choose import OffsiteChoosing
from activities.offsite_fetch import OffsiteFetching
from activities.offsite_list import OffsiteListing
from activities.offsite_ready import OffsiteReadiness
from activities.offsite_side import FarSide
from activities.open_runs import OpenRuns
from activities.people import People
from activities.postgres.archive_check import ArchiveChecks
from activities.postgres.archiving import Archiving
from activities.postgres.assess import Diagnosis
from activities.postgres.backup import Backups
from activities.postgres.choose import Choosing
from activities.postgres.dump import Dumps
from activities.postgres.fence import Fencing
from activities.postgres.follow import Following
from activities.postgres.integrity import Integrity
from activities.postgres.last_wal import Draining
from activities.postgres.listing import Listing
from activities.postgres.promote import Promoting
from activities.postgres.proving import Proving
from activities.postgres.quiet import Quiet
from activities.postgres.receiver import Protection
from activities.postgres.reindex import Reindexing
from activities.postgres.reindex_proof import ReindexProof
from activities.postgres.release import Releasing
from activities.postgres.restore import Restoring
from activities.postgres.restore_base import BaseChecks
from activities.postgres.restore_dump import DumpChecks
from activities.postgres.serve import Starting
from activities.postgres.sql import Sql
from activities.postgres.swap import Swapping
from activities.probes import Probes
from activities.rebuild import Rebuilding
from activities.redis_backup import RedisBackups
from activities.redis_proof import RedisProof
from activities.redis_restore import RedisRestoring
from activities.reports import Reports
from activities.retention import Retaining
from activities.search import Search
from activities.search_backup import SearchBackups
from activities.search_proof import SearchProofs
from activities.search_restore import SearchRestoring
from activities.secrets import Secrets
from activities.selftest.hands import SelfTest
from activities.selftest.network import Networks
from activities.services import Services
from activities.shelf import Shelf
from activities.tokens import Tokens
from activities.traffic import Traffic
from activities.verification import VerificationReports
from activities.verification_far import FarChecks
from worker.backup_metrics import BackupMetrics
from worker.connection import ui_address
from worker.far_store import s3_client
from worker.settings import Settings, StackFiles, environment
from worker.tools_image import tools_image

_DOCKER_SECONDS = 120

Hand = Callable[..., Any]


def docker_client() -> docker.DockerClient:
    """Return a client of the engine that the environment names, once that answers."""
    pause = 0.2
    while True:
        try:
            return docker.DockerClient.from_env(timeout=_DOCKER_SECONDS)
        except DockerException as error:
            structlog.get_logger().warning("waiting for Docker", reason=str(error)[:200])
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


class Hands:
    """Every hand of the product, built once for a process."""

    def __init__(self, settings: Settings, client: Client, engine: Engine | None = None) -> None:
        """``engine`` replaces the client to Docker, so that tests can count its effects."""
        raw = docker_client()
        self._settings = settings
        self._client = client
        self._tools = tools_image(raw, settings.tools_image)
        self._engine = engine or Engine(raw)
        self._networks = Networks(raw)
        self._secrets = Secrets(self._engine, environment())
        self._sql = Sql(self._secrets)
        self._tokens = Tokens(settings.state)

    def control(self) -> list[Hand]:
        """Return the light hands of the control queue."""

        async def temporal() -> Client:
            return self._client

        console = f"{ui_address(self._settings)}/namespaces/{self._client.namespace}"
        reports = Reports(self._settings.state, Histories(temporal), console)
        return [
            reports.ensure_report_written,
            People(self._settings.state, self._channels()).ensure_told,
            VerificationReports(self._settings.state).ensure_verification_recorded,
            OpenRuns(temporal).observe_open_recovery,
            Schedules(temporal).observe_schedules,
        ]

    def _channels(self) -> Channels:
        return Channels(StackFiles(self._settings), self._settings.default_stack, self._secrets)

    def backup_metrics(self) -> BackupMetrics:
        """Return what reads the ages of backups for ``/metrics``, on the host that has the shelf."""
        return BackupMetrics(StackFiles(self._settings), self._settings.state, self._engine)

    def host(self) -> list[Hand]:
        """Return the hands that touch a host."""
        return [
            *self._lookers(),
            *self._protectors(),
            *self._recoverers(),
            *self._others(),
            *self._offsite(),
            *self._objects(),
            *self._stores(),
        ]

    def _lookers(self) -> list[Hand]:
        engine, state = self._engine, self._settings.state
        inventories = Inventories(engine, StackFiles(self._settings), self._settings.default_stack)
        clocks, containers = Clocks(engine, self._sql), self._containers()
        return [
            containers.observe_stack,
            containers.observe_health,
            inventories.observe_project,
            inventories.observe_questions,
            Host(engine, state, self._tools, clocks).observe_host,
            Diagnosis(engine, self._sql, state).assess_corruption,
            Listing().observe_backups,
            Shelf().observe_entries,
            Shelf().observe_entry,
            Shelf().verify_files,
        ]

    def _containers(self) -> Containers:
        engine, stacks, state = self._engine, StackFiles(self._settings), self._settings.state
        probes, clocks = Probes(engine, self._secrets, self._sql), Clocks(engine, self._sql)
        return Containers(engine, stacks, self._settings.default_stack, state, probes, clocks)

    def _protectors(self) -> list[Hand]:
        parts = (self._engine, self._sql, self._tokens, self._settings.state)
        backups, protection, dumps = Backups(*parts), Protection(*parts), Dumps(*parts)
        retaining = Retaining(self._tokens, self._settings.state)
        selftest = SelfTest(
            self._engine, self._networks, *parts[1:], secrets=self._secrets, connect=s3_client
        )
        return [
            protection.ensure_protected,
            protection.ensure_receiving,
            protection.observe_receiver,
            Archiving(self._containers().observe_stack, protection, *parts[1:]).ensure_wal_archived,
            backups.ensure_base_backup,
            backups.verify_backup,
            retaining.observe_retention,
            retaining.ensure_retained,
            dumps.ensure_dump,
            dumps.verify_dump,
            RedisBackups(self._engine, self._secrets, self._tokens, self._settings.state).ensure_redis_backup,
            RedisProof(self._engine, self._tokens, self._settings.state).verify_redis_restored,
            DumpChecks(*parts).verify_restored,
            BaseChecks(*parts).verify_base_restored,
            ArchiveChecks().verify_archive,
            Rebuilding(self._engine, self._tokens, self._settings.state).ensure_catalogue_rebuilt,
            selftest.verify_checks_of_database,
            selftest.verify_checks_of_stores,
            selftest.verify_checks_of_records,
        ]

    def _recoverers(self) -> list[Hand]:
        engine, state = self._engine, self._settings.state
        parts = (engine, self._sql, self._tokens, state)
        integrity = Integrity(engine, self._sql, state)
        quiet, fencing = Quiet(engine, self._sql, state), Fencing(*parts)
        swapping = Swapping(engine, self._tokens, state, self._tools)
        releasing = Releasing(engine, self._tokens, state)
        redis = RedisRestoring(engine, self._secrets, self._tokens, state, self._tools)
        return [
            quiet.ensure_quiet,
            quiet.ensure_unquiet,
            Choosing(engine, state, self._tools).choose_backup,
            Proving().ensure_recorded_restored,
            Restoring(engine, self._tokens, state).ensure_restored,
            Following(*parts).ensure_following,
            integrity.verify_copy,
            integrity.verify_server,
            Reindexing(*parts).ensure_reindexed,
            ReindexProof(engine, self._sql, state).verify_reindexed,
            fencing.ensure_fenced,
            fencing.ensure_unfenced,
            Draining(*parts).ensure_last_wal,
            Promoting(*parts).ensure_promoted,
            swapping.ensure_swapped_in,
            swapping.ensure_swap_settled,
            Starting(*parts).ensure_serving,
            redis.ensure_redis_prepared,
            redis.ensure_redis_restored,
            releasing.ensure_released,
            releasing.ensure_discarded,
        ]

    def _others(self) -> list[Hand]:
        engine, secrets, sql = self._engine, self._secrets, self._sql
        services = Services(engine, secrets, sql, self._tokens, self._settings.state)
        ledger = Ledger(engine, secrets, sql, self._settings.state)
        return [
            services.ensure_writers_stopped,
            services.ensure_services_started,
            Hasura(engine, secrets).verify_metadata,
            Search(engine, secrets, sql, self._tokens).ensure_search_in_line,
            Traffic(engine, secrets).verify_user_journey,
            ledger.measure_loss,
            ledger.measure_downtime,
            ledger.ensure_markers_paused,
            ledger.ensure_markers_resumed,
            ledger.ensure_recovery_flagged,
            ledger.ensure_recovery_cleared,
        ]

    def _objects(self) -> list[Hand]:
        side = ObjectsSide(self._engine, self._secrets, s3_client)
        parts = (side, self._tokens, self._settings.state)
        proof = ObjectsProof(*parts)
        return [
            ObjectBackups(*parts).ensure_objects_backup,
            proof.verify_objects_copy,
            proof.verify_objects_restored,
            ObjectsRestoring(*parts).ensure_objects_restored,
        ]

    def _offsite(self) -> list[Hand]:
        side = FarSide(self._secrets, self._settings.state, s3_client)
        ready = OffsiteReadiness(side, self._tokens)
        fetching = OffsiteFetching(side, self._tokens)
        return [
            ready.observe_offsite_reach,
            ready.ensure_offsite_ready,
            OffsiteCopies(side, self._tokens).ensure_copied_offsite,
            OffsiteListing(side).observe_offsite,
            OffsiteChoosing(side).choose_offsite,
            fetching.ensure_fetched,
            fetching.ensure_recalled,
            FarChecks(fetching, self._tokens, self._settings.state).verify_far_copy,
        ]

    def _stores(self) -> list[Hand]:
        """Return the hands that back up and restore what is beside the database."""
        engine, secrets, tokens, state = self._engine, self._secrets, self._tokens, self._settings.state
        stacks, compose = StackFiles(self._settings), Compose(environment())
        return [
            SearchBackups(engine, secrets, tokens, state).ensure_search_backup,
            SearchProofs(engine, tokens, state).verify_search_restored,
            SearchRestoring(engine, secrets, tokens, state, self._tools).ensure_search_restored,
            MetadataBackups(engine, secrets, tokens, state).ensure_metadata_backup,
            MetadataProofs(tokens, state).verify_metadata_restored,
            MetadataRestoring(engine, secrets, self._sql, tokens, state).ensure_metadata_restored,
            ConfigurationBackups(engine, secrets, tokens, state, stacks).ensure_configuration_backup,
            ConfigurationProofs(tokens, state, compose).verify_configuration_restored,
            ConfigurationExtracting(tokens, state).ensure_configuration_extracted,
        ]
