"""The beginning of every run: the stack's facts, and the lock."""

from urllib.parse import quote

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.containers import Containers
    from domain import names
    from domain.order import StackOrder, Target
    from workflows.closing import Ending
    from workflows.gates import Ended
    from workflows.runbook import Runbook


class Opening(Runbook):
    """Adds ``load`` to the words of a scenario."""

    async def load(self) -> Target:
        """Load the stack's facts; a run that does not hold the stack's lock stands down."""
        order = StackOrder(stack=self.request.stack, scenario=self.SCENARIO)
        self.facts = await self.step("Load the stack", Containers.observe_stack, order, refused_ends=True)
        self.loaded = True
        self.stack_name = self.facts.stack.stack
        self.know_people(self.facts.stack)
        self.evidence.facts["stack file"] = f"sha256 {self.facts.stack_digest[:12]}"
        self.evidence.facts["code"] = self.facts.code_version
        if self.facts.clocks:
            self.evidence.facts["clocks"] = self.facts.clocks
        if self.facts.leftovers:
            self.evidence.facts["left by other recoveries"] = ". ".join(self.facts.leftovers)
        self._refuse_without_lock()
        return self.facts.target

    def _refuse_without_lock(self) -> None:
        info = workflow.info()
        lock = names.recovery_workflow_id(self.stack_name)
        if self.request.mode != "real" or info.workflow_id == lock or info.parent is not None:
            return
        link = (
            f"/namespaces/{info.namespace}/workflows/start-workflow?workflowType={info.workflow_type}"
            f"&taskQueue={info.task_queue}&workflowId={quote(lock, safe='')}"
        )
        raise Ended(
            Ending(
                "stood_down",
                f"A recovery of {self.stack_name} must run under the workflow id {lock}, which is its"
                f" lock; this one is {info.workflow_id}. Start it here: {link}",
            )
        )
