"""The phase of a run: what the lists of the Web UI are filtered by. Pure.

A few for a run, not one for each step: the steps are in its details, and every change costs a write.
"""

from collections.abc import Mapping

BEGIN = "look"
"""The phase before the first step that begins another."""

PHASES: Mapping[str, str] = {
    "choose_backup": "copy",
    "ensure_reindexed": "repair",
    "ensure_promoted": "swap in",
    "ensure_services_started": "bring users back",
    "verify_server": "prove",
    "ensure_base_backup": "protect",
    "ensure_report_written": "close",
}
"""The hand with which a phase begins."""


def phase_at(hand: str, before: str) -> str:
    """Return the phase of a step: the one that its hand begins, else the one there was."""
    return PHASES.get(hand, before or BEGIN)
