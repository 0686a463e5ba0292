"""Names that several parts must agree on: ids, labels, queues, search attributes."""

from datetime import UTC, datetime

CONTROL_QUEUE = "dr-control"
DEFAULT_SITE = "main"

LABEL_RECOVERY = "dr.recovery"
LABEL_ROLE = "dr.role"
LABEL_STACK = "dr.stack"
LABEL_TOKEN = "dr.token"  # noqa: S105 - the name of a label
LABEL_MADE_BY = "dr.made-by"

COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"

SEARCH_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("DrStack", "Keyword"),
    ("DrScenario", "Keyword"),
    ("DrState", "Keyword"),
    ("DrPhase", "Keyword"),
    ("DrMode", "Keyword"),
    ("DrSite", "Keyword"),
    ("DrRtoSeconds", "Int"),
    ("DrRpoSeconds", "Int"),
    ("DrNeedsOperator", "Bool"),
    ("DrDeadline", "Datetime"),
)


def host_queue(site: str = DEFAULT_SITE) -> str:
    """Return the task queue of the host of a site."""
    return f"dr-host-{site}"


def recovery_workflow_id(stack: str) -> str:
    """Return the workflow id of a real recovery; holding it is holding the stack's lock."""
    return f"recovery/{stack}"


def new_recovery_id(started: datetime, original_run_id: str) -> str:
    """Return the recovery id: UTC start to the minute and the last eight hex digits of the run id.

    The last ones are random; the first ones of Temporal's run ids are a clock, which two runs may share.

    Every artefact of the recovery carries it, so that a retry finds what an earlier attempt made.
    """
    stamp = started.astimezone(UTC).strftime("%Y%m%dT%H%MZ")
    return f"{stamp}-{original_run_id.replace('-', '')[-8:]}"


def container_name(recovery_id: str, what: str) -> str:
    """Return the name of a container made for a recovery."""
    return f"dr-{recovery_id}-{what}"


def volume_name(recovery_id: str, service: str, attempt: int) -> str:
    """Return the name of a volume made for a recovery; each attempt has its own."""
    return f"dr-{recovery_id}-{service}-{attempt}"


def short_id(recovery_id: str) -> str:
    """Return the last eight characters of a recovery id, for paths with a length limit."""
    return recovery_id.replace("-", "")[-8:]
