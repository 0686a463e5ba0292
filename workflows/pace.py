"""Timeouts, retries and what a failure means: measured figures are in the comments."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.common import (
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

# A killed worker is noticed after this; every hand is kept alive by the worker's liveness beat, so
# the value does not depend on what the hand does.
HEARTBEAT = timedelta(seconds=5)
START_TO_CLOSE = timedelta(hours=12)
SCHEDULE_TO_START = timedelta(seconds=60)
LONGEST_REMINDER = timedelta(hours=6)

# Trying again cannot help these.
NOT_RETRIED = ["Refused", "BackupUnusable", "VerificationFailed", "ValidationError"]

# Ten attempts within about a minute of trouble: enough for a restart of the Docker daemon. Killed
# workers burn attempts too.
RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=300),
    backoff_coefficient=1.7,
    maximum_interval=timedelta(seconds=15),
    maximum_attempts=12,
    non_retryable_error_types=NOT_RETRIED,
)
NOTICE = RetryPolicy(maximum_attempts=2)


@dataclass(frozen=True)
class Trouble:
    """A failed hand, as a person and a program need it."""

    kind: str
    code: str
    sentence: str
    no_agent: bool = False

    @classmethod
    def of(cls, error: ActivityError, queue: str = "") -> "Trouble":
        """Read the failure of an activity that waited on a queue."""
        cause = error.cause
        if isinstance(cause, TemporalTimeoutError):
            if cause.type is TimeoutType.SCHEDULE_TO_START:
                said = (
                    f"no worker took the step: does one poll the queue {queue}?"
                    if queue
                    else "no worker took it"
                )
                return cls("Unavailable", "no-agent", said, no_agent=True)
            return cls("Unavailable", "step-timeout", "the step ran out of time and tries")
        if isinstance(cause, ApplicationError):
            code = str(cause.details[0]) if cause.details else "unexpected"
            return cls(cause.type or "Error", code, cause.message or "no message")
        return cls("Error", "unexpected", str(cause or error))


def attributes(
    values: Mapping[str, object], known: TypedSearchAttributes
) -> list[SearchAttributeUpdate[Any]]:
    """Return the updates that change something, so that history holds no empty ones."""
    updates: list[SearchAttributeUpdate[Any]] = []
    for name, value in values.items():
        if isinstance(value, bool):
            flag = SearchAttributeKey.for_bool(name)
            if known.get(flag) != value:
                updates.append(flag.value_set(value))
        elif isinstance(value, int):
            number = SearchAttributeKey.for_int(name)
            if known.get(number) != value:
                updates.append(number.value_set(value))
        else:
            word = SearchAttributeKey.for_keyword(name)
            if known.get(word) != value:
                updates.append(word.value_set(str(value)))
    return updates
