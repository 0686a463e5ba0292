"""Logs of our processes: one object or line each, whose sentence is the timeline's."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from temporalio import activity, workflow

from domain.inert import quoted, visible, without_secrets

_DEEPEST = 6
_LONGEST_TRACE = 20_000


def set_up(log_format: str) -> None:
    """Send our logs and the libraries' to standard error in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared[:2], *shared[3:], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _harmless, renderer],
        )
    )
    # The sentence stays as it is in the timeline; which run it is of stands in fields beside it.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("httpx", "urllib3", "docker"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _harmless(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Quote every text: what others said forges no line, moves no terminal, tells no secret (F-K6)."""
    trace = event.pop("exception", None)
    quiet: MutableMapping[str, Any] = {quoted(str(key)): _quiet(value) for key, value in event.items()}
    if trace is not None:
        quiet["exception"] = _indented(str(trace))
    return quiet


def _quiet(value: object, depth: int = 0) -> object:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth < _DEEPEST and isinstance(value, dict):
        return {quoted(str(key)): _quiet(inner, depth + 1) for key, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        return [_quiet(inner, depth + 1) for inner in value]
    return quoted(str(value))


def _indented(trace: str) -> str:
    """Return a trace whose lines all begin with blanks, so that none is taken for a line of the log."""
    kept = without_secrets(trace[-_LONGEST_TRACE:])
    return "\n".join(f"  {visible(line)}" if line else "" for line in kept.splitlines())
