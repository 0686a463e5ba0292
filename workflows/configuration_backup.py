"""The configuration of a stack: backed up sealed, by hand or by schedule, and opened again."""

from pydantic import Field
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.configuration_backup import ConfigurationBackups
    from activities.configuration_extract import ConfigurationExtracting
    from domain.configuration import Extracted, ExtractOrder
    from domain.store_backups import StoreBackups
    from workflows.backup import EntryRequest, ScheduledRequest, load, store_order
    from workflows.errand import errand


class ExtractRequest(EntryRequest):
    """Which backup is opened, and where to."""

    to: str = Field(max_length=1000)
    """Absolute path on the host of the worker; it must not be there, or be empty."""


@workflow.defn(name="ConfigurationBackup")
class ConfigurationBackup:
    """Back up everything beside the data that the stack needs to start, sealed with the backup key."""

    @workflow.run
    async def run(self, request: ScheduledRequest = ScheduledRequest()) -> StoreBackups:  # noqa: B008 - frozen
        """Read, seal, open once."""
        order = await store_order(request)
        hand = ConfigurationBackups.ensure_configuration_backup
        return await errand("Back up the configuration", hand, order)


@workflow.defn(name="ExtractConfiguration")
class ExtractConfiguration:
    """Open a backup of the configuration into a directory of the host."""

    @workflow.run
    async def run(self, request: ExtractRequest) -> Extracted:
        """Open it where it was asked for."""
        target = (await load(request)).target
        order = ExtractOrder(target=target, entry_id=request.backup_id, to=request.to)
        return await errand(
            "Open the configuration", ConfigurationExtracting.ensure_configuration_extracted, order
        )
