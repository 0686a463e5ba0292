"""Looking without an incident: the health of a stack, and whether a recovery would find what it needs."""

from collections.abc import Sequence

from pydantic import Field
from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.containers import Containers
    from activities.host import Host
    from activities.inventory import Inventories
    from activities.offsite_ready import OffsiteReadiness
    from activities.postgres.listing import Listing
    from activities.postgres.receiver import Protection
    from domain.backups import Backup, Level, ShelfOrder
    from domain.inventory import Inventory, InventoryOrder
    from domain.offsite_copies import OffsiteOrder
    from domain.order import Facts, StackOrder, TargetOrder, Value
    from domain.recovery import Judged, Proof
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand
    from workflows.pace import Trouble


class ProjectRequest(Value):
    """Which Compose project to look at, by its label."""

    project: str = Field(default="", max_length=255)


@workflow.defn(name="ObserveProject")
class ObserveProject:
    """Look at a Compose project that has no stack file yet."""

    @workflow.run
    async def run(self, request: ProjectRequest = ProjectRequest()) -> Inventory:  # noqa: B008 - frozen
        """Look only."""
        order = InventoryOrder(project=request.project)
        return await errand("Look at the project", Inventories.observe_project, order)


@workflow.defn(name="ObserveHealth")
class ObserveHealth:
    """Look at every service of a stack by its own protocol."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> Judged:  # noqa: B008 - frozen
        """Look only."""
        target = (await load(request)).target
        return await errand("Look at the services", Containers.observe_health, TargetOrder(target=target))


@workflow.defn(name="Doctor")
class Doctor:
    """Compare the stack file with the host, and say what a recovery would miss."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> Judged:  # noqa: B008 - frozen
        """Look at everything a recovery needs; a look that fails is a red line, not an error."""
        asked = await self._questions(request)
        try:
            facts = await load(request)
        except ActivityError as error:
            unread = Proof(name="stack file", passed=False, evidence=Trouble.of(error).sentence)
            return _judge([unread, *asked])
        proofs = [Proof(name="stack file", passed=True, evidence=facts.sentence), *asked]
        proofs += await self._services(facts)
        proofs += await self._protection(facts)
        proofs += await self._host(facts)
        proofs += await self._offsite(facts)
        return _judge(proofs)

    async def _questions(self, request: BackupRequest) -> list[Proof]:
        try:
            order = StackOrder(stack=request.stack)
            return list((await errand("Read what is asked", Inventories.observe_questions, order)).proofs)
        except ActivityError as error:
            said = Trouble.of(error).sentence
            return [Proof(name="questions in the stack file", passed=None, evidence=said)]

    async def _services(self, facts: Facts) -> list[Proof]:
        try:
            order = TargetOrder(target=facts.target)
            return list((await errand("Look at the services", Containers.observe_health, order)).proofs)
        except ActivityError as error:
            return [Proof(name="services", passed=False, evidence=Trouble.of(error).sentence)]

    async def _protection(self, facts: Facts) -> list[Proof]:
        try:
            order = TargetOrder(target=facts.target)
            receiver = await errand("Look at the WAL receiver", Protection.observe_receiver, order)
            shelf = ShelfOrder(shelf=facts.target.shelf)
            listed = await errand("Read the catalogue", Listing.observe_backups, shelf)
        except ActivityError as error:
            return [Proof(name="protection", passed=False, evidence=Trouble.of(error).sentence)]
        return [
            Proof(name="WAL receiver", passed=receiver.active, evidence=receiver.sentence),
            base_proof(listed.backups),
        ]

    async def _host(self, facts: Facts) -> list[Proof]:
        try:
            order = TargetOrder(target=facts.target)
            return list((await errand("Look at the host", Host.observe_host, order)).proofs)
        except ActivityError as error:
            return [Proof(name="host", passed=False, evidence=Trouble.of(error).sentence)]

    async def _offsite(self, facts: Facts) -> list[Proof]:
        if facts.stack.offsite is None:
            return []
        try:
            order = OffsiteOrder(target=facts.target, policy=facts.stack.offsite)
            reach = await errand("Look at the far store", OffsiteReadiness.observe_offsite_reach, order)
            return list(reach.proofs)
        except ActivityError as error:
            return [Proof(name="off-site store", passed=False, evidence=Trouble.of(error).sentence)]


def base_proof(backups: Sequence[Backup]) -> Proof:
    """Return whether there is a base backup that is not known to be damaged; the newest is named."""
    newest = next((one for one in backups if one.verified is not Level.NONE), None)
    said = f"newest that is whole: {newest.id}, {newest.verified}" if newest else "there is none"
    if backups and newest is not backups[0]:
        said += f"; {backups[0].id} is not known to be whole"
    return Proof(
        name="backups", passed=newest is not None, evidence=said if newest else f"{said}: dr backup now"
    )


def _judge(proofs: list[Proof]) -> Judged:
    failed = [proof for proof in proofs if proof.passed is not True]
    sentence = "ready" if not failed else f"{len(failed)} of {len(proofs)} are not as they should be"
    return Judged(sentence=sentence, passed=not failed, proofs=tuple(proofs))
