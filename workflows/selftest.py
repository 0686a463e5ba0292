"""The verifier's self-test: known-good copies are damaged, and every check has to find its damage."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.selftest.hands import SelfTest
    from domain.order import TargetOrder
    from domain.selftest import SelfTested, sum_up
    from workflows.backup import BackupRequest, load
    from workflows.errand import errand


@workflow.defn(name="VerifierSelfTest")
class VerifierSelfTest:
    """Test the checks like code under mutation: 24 kinds of damage and 6 sound states."""

    @workflow.run
    async def run(self, request: BackupRequest = BackupRequest()) -> SelfTested:  # noqa: B008 - frozen
        """Try each part on copies of its own, and sum it up; production and shelf are only read."""
        order = TargetOrder(target=(await load(request)).target)
        tested = [
            await errand(title, hand, order)
            for title, hand in (
                ("Damage records and ask their checks", SelfTest.verify_checks_of_records),
                ("Damage small stores and ask their checks", SelfTest.verify_checks_of_stores),
                ("Damage copies of the database and ask their checks", SelfTest.verify_checks_of_database),
            )
        ]
        found = sum_up(tested)
        workflow.set_current_details(found.sentence)
        return found
