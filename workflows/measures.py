"""What a run measures for dashboards and alarms; a replay measures nothing again."""

from temporalio import workflow


def step_took(scenario: str, step: str, seconds: float) -> None:
    """Record how long a step took, from being asked for until its end, all attempts included."""
    meter = workflow.metric_meter()
    histogram = meter.create_histogram_float("dr_recovery_step_seconds", "Duration of a recovery's step", "s")
    histogram.record(seconds, {"scenario": scenario, "step": step})


def came_to(scenario: str, outcome: str) -> None:
    """Count an end (``recovered``, ``stood_down``, ``aborted``) or a stop (``needs_human``)."""
    counter = workflow.metric_meter().create_counter(
        "dr_recovery_outcome", "Ends of recoveries, and stops that needed a person"
    )
    counter.add(1, {"scenario": scenario, "outcome": outcome})
