"""Every workflow of the product, as a worker of the control queue registers them."""

from workflows.backup import BaseBackup, Dump, Protect
from workflows.catalogue import ListBackups, RebuildCatalogue, ShowBackup, VerifyBackup
from workflows.configuration_backup import ConfigurationBackup, ExtractConfiguration
from workflows.database_corruption import DatabaseCorruption
from workflows.inspection import Doctor, ObserveHealth, ObserveProject
from workflows.metadata_backup import MetadataBackup
from workflows.objects_backup import ObjectsBackup
from workflows.offsite_copy import FetchOffsite, ListOffsite, OffsiteCopy
from workflows.redis_backup import RedisBackup
from workflows.release import Discard, Release
from workflows.retention import Retention
from workflows.scheduled import Scheduled
from workflows.search_backup import SearchBackup
from workflows.selftest import VerifierSelfTest
from workflows.verification import BackupVerification
from workflows.wal_archive import ArchiveWal

WORKFLOWS: list[type] = [
    DatabaseCorruption,
    BaseBackup,
    Dump,
    Protect,
    RedisBackup,
    ListBackups,
    ShowBackup,
    VerifyBackup,
    RebuildCatalogue,
    ObserveHealth,
    ObserveProject,
    Doctor,
    Release,
    Discard,
    Retention,
    Scheduled,
    VerifierSelfTest,
    OffsiteCopy,
    ListOffsite,
    FetchOffsite,
    ObjectsBackup,
    BackupVerification,
    SearchBackup,
    MetadataBackup,
    ConfigurationBackup,
    ExtractConfiguration,
    ArchiveWal,
]
