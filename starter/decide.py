"""``dr approve``, ``reject``, ``hold``, ``resume``, ``retry``, ``skip``, ``abort``."""

import getpass
import secrets
import sys
from pathlib import Path

import typer
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from domain.approval import Answer, Decision, Verb
from domain.errors import Refused, Unavailable
from domain.incident import StatusView
from starter import orchestrator
from starter.answer import Exit, answer, plain
from starter.keys import decision, signed_for
from starter.recover import print_brief
from worker.settings import Settings

_BY = typer.Option("", help="Who decides; your login name when not given.")
_STACK = typer.Option("", help="The stack; not needed while one recovery is open.")
_REASON = typer.Option("", help="Why.")
_NEEDED_REASON = typer.Option(..., help="Why; it goes on the record.")
_KEY = typer.Option(None, help="Sign the decision with the private key in this file.")


def approve(
    gate: str = typer.Argument("", help="The gate; the open one when not given."),
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _REASON,
    *,
    accept_loss: str = typer.Option(
        "", help="The stated loss, typed back: its seconds, or 'unknown' where it was not measured."
    ),
    digest: str = typer.Option("", help="Digest of the brief that was read; the open one when not given."),
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Approve the open gate; the stated loss must be typed back where there is any."""

    async def work(client: Client, _: Settings) -> Exit:
        workflow_id = await orchestrator.the_open_one(client, stack)
        view = await orchestrator.look(client, workflow_id)
        if view is None or not view.gate:
            raise Refused("no gate is open", where=workflow_id, code="gate-closed")
        if not as_json:
            print_brief(view)
        _accept_loss(view, accept_loss)
        said = decision(
            verb=Verb.APPROVE,
            gate=gate or view.gate,
            digest=digest or view.digest,
            by=by or getpass.getuser(),
            reason=reason,
            id=f"{view.gate}:{by or getpass.getuser()}:{digest or view.digest}",
        )
        return await _decide(client, workflow_id, signed_for(view, said, key), as_json=as_json)

    raise typer.Exit(orchestrator.run(work))


def _accept_loss(view: StatusView, accepted: str) -> None:
    stated = view.maximum_loss_seconds
    if stated == 0:
        return
    wanted = "unknown" if stated is None else str(stated)
    if not accepted and sys.stdin.isatty():
        accepted = typer.prompt(f"Type the loss back ({wanted}) to accept it", err=True)
    if accepted.strip() != wanted:
        raise Refused(
            "the loss was not measured, and that was not accepted"
            if stated is None
            else f"the brief states a loss of {wanted} s; it was not typed back",
            hint=f"dr approve --accept-loss {wanted}",
            code="loss-not-accepted",
        )


def reject(
    gate: str = typer.Argument("", help="The gate; the open one when not given."),
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _NEEDED_REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Reject the open gate; the run ends as aborted."""
    _say(Verb.REJECT, stack, by, reason, key=key, as_json=as_json, gate=gate)


def hold(
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _NEEDED_REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Stop the open run between steps."""
    _say(Verb.HOLD, stack, by, reason, key=key, as_json=as_json)


def resume(
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Let a held run go on."""
    _say(Verb.RESUME, stack, by, reason, key=key, as_json=as_json)


def retry(
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Try the parked step again."""
    _say(Verb.RETRY, stack, by, reason, key=key, as_json=as_json)


def skip(
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _NEEDED_REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Skip the parked step; the report shows it in red."""
    _say(Verb.SKIP, stack, by, reason, key=key, as_json=as_json)


def abort(
    stack: str = _STACK,
    by: str = _BY,
    reason: str = _NEEDED_REASON,
    *,
    key: Path | None = _KEY,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """End the open run at the next safe point."""
    _say(Verb.ABORT, stack, by, reason, key=key, as_json=as_json)


def _say(
    verb: Verb, stack: str, by: str, reason: str, *, key: Path | None, as_json: bool, gate: str = ""
) -> None:
    async def work(client: Client, _: Settings) -> Exit:
        workflow_id = await orchestrator.the_open_one(client, stack)
        view = await orchestrator.look(client, workflow_id)
        if view is None:
            raise Refused("no recovery is open", where=workflow_id, code="no-open-run")
        at_a_gate = verb is Verb.REJECT
        said = decision(
            verb=verb,
            gate=gate or (view.gate if at_a_gate else ""),
            step=view.parked_step if verb in {Verb.RETRY, Verb.SKIP} else "",
            digest=view.digest if at_a_gate else "",
            reason=reason,
            by=by or getpass.getuser(),
            id=f"{verb}:{secrets.token_hex(8)}",
        )
        return await _decide(client, workflow_id, signed_for(view, said, key), as_json=as_json)

    raise typer.Exit(orchestrator.run(work))


async def _decide(client: Client, workflow_id: str, said: Decision, *, as_json: bool) -> Exit:
    handle = client.get_workflow_handle(workflow_id)
    try:
        # An id of its own: the server answers a known update id from memory, whoever used it first.
        told = await handle.execute_update(
            "decide", said, id=f"decide:{secrets.token_hex(8)}", result_type=Answer
        )
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        raise Unavailable(
            "no answer yet: whether it counted is not known",
            where=workflow_id,
            hint="say it again; the same decision counts once",
            code="decision-unknown",
        ) from None
    except (WorkflowUpdateFailedError, RPCError) as error:
        raise Refused(f"the run did not take it: {error}", where=workflow_id, code="not-taken") from None
    if not told.counted and not as_json:
        raise Refused(told.because, where=workflow_id, code="not-counted")
    answer(
        said.verb,
        told,
        as_json=as_json,
        human=lambda c: c.print(
            f"[green]counted[/]: {plain(said.verb)} by {plain(said.by)}: {plain(told.because)}"
        ),
    )
    return Exit.DONE if told.counted else Exit.REFUSED
