"""``dr keys new`` and ``dr sign``: keys of people who decide, and decisions signed by hand."""

import json
import os
import re
import secrets
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer
from pydantic import ValidationError
from temporalio.client import Client

from domain.approval import Decision, Verb
from domain.durations import parse_duration
from domain.errors import Refused
from domain.incident import StatusView
from domain.judgement import statement_of
from domain.persons import folded, name_limitation
from domain.signing import LONGEST_LIFE, private_pem, public_of
from domain.signing import sign as sign_statement
from starter import orchestrator
from starter.answer import Exit, answer, say
from worker.settings import Settings

_SEED_BYTES = 32
_LARGEST_KEY_BYTES = 10_000
_USUAL_LIFE = "1h"
_AT_A_GATE = (Verb.APPROVE, Verb.REJECT)

app = typer.Typer(no_args_is_help=True, help="Keys of people who sign their decisions.")


@app.command()
def new(
    by: str = typer.Option(..., help="Whose key it is: the name that approvers in stack.yaml states."),
    out: Path | None = typer.Option(None, help="The file to write; DR_STATE/keys/NAME.key when not given."),
    *,
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Make a key: the private part into a file of your own, the public part to put into stack.yaml."""
    problem = name_limitation(by)
    if problem:
        raise Refused(problem, code="name-unusable")
    path = (
        out or Settings().state / "keys" / f"{re.sub(r'[^a-z0-9]+', '-', folded(by)).strip('-') or 'key'}.key"
    )
    pem = private_pem(secrets.token_bytes(_SEED_BYTES))
    _write(path, pem)
    line = f"- {{name: {json.dumps(by, ensure_ascii=False)}, key: {json.dumps(public_of(pem))}}}"
    made = {"file": str(path), "public_key": public_of(pem), "line": line}
    say(f"The private key is in {path}. Keep it yourself, and a copy elsewhere. For approvers in stack.yaml:")
    answer("keys new", made, as_json=as_json, human=lambda c: c.out(line, highlight=False))


def sign(  # noqa: PLR0913 - the options of a command
    verb: Verb = typer.Argument(..., help="What is decided: approve, reject, skip, …"),
    key: Path = typer.Option(..., help="File with your private key."),
    by: str = typer.Option(..., help="Your name, as approvers in stack.yaml states it."),
    stack: str = typer.Option("", help="The stack; not needed while one recovery is open."),
    reason: str = typer.Option("", help="Why; it is not signed."),
    *,
    run: str = typer.Option("", help="The run; with --digest nothing is asked of Temporal."),
    gate: str = typer.Option("", help="The gate, or the parked step; the open one when not given."),
    digest: str = typer.Option("", help="The digest of the brief that was read."),
    expires: str = typer.Option(_USUAL_LIFE, help="For how long the signature is good."),
    as_json: bool = typer.Option(False, "--json"),
) -> None:
    """Print a signed decision as the exact JSON to paste into the Web UI's signal form."""
    said = decision(verb=verb, by=by, reason=reason, digest=digest)
    if run:
        _print(_signed_there(said, run, gate, key, expires), as_json=as_json)
        return

    async def work(client: Client, _: Settings) -> Exit:
        workflow_id = await orchestrator.the_open_one(client, stack)
        view = await orchestrator.look(client, workflow_id)
        if view is None:
            raise Refused("no recovery is open", where=workflow_id, code="no-open-run")
        seen = said.model_copy(update={"digest": digest or (view.digest if verb in _AT_A_GATE else "")})
        where = gate or (view.gate if verb in _AT_A_GATE else view.parked_step)
        _print(_signed_there(seen, view.run_id, where, key, expires), as_json=as_json)
        return Exit.DONE

    raise typer.Exit(orchestrator.run(work))


def decision(**fields: str) -> Decision:
    """Return a decision made of what was typed; raise ``Refused`` when a run would not understand it."""
    try:
        return Decision.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        raise Refused(what, code="decision-unusable") from None


def signed_for(view: StatusView, said: Decision, key: Path | None) -> Decision:
    """Return a decision signed for the run that is looked at; without a key it stays a claim."""
    return said if key is None else signed(said, view.run_id, key, life_of(_USUAL_LIFE))


def signed(said: Decision, run_id: str, key: Path, life: timedelta) -> Decision:
    """Return a decision with run, times, a new nonce and the signature over them."""
    now = datetime.now(UTC).replace(microsecond=0)
    stamped = said.model_copy(
        update={
            "run": run_id,
            "issued": now.isoformat(),
            "expires": (now + life).isoformat(),
            "nonce": secrets.token_hex(16),
        }
    )
    return stamped.model_copy(update={"signature": sign_statement(statement_of(stamped, run_id), _read(key))})


def _signed_there(said: Decision, run: str, where: str, key: Path, expires: str) -> Decision:
    place = "gate" if said.verb in _AT_A_GATE else "step"
    return signed(said.model_copy(update={place: where}), run, key, life_of(expires))


def _print(said: Decision, *, as_json: bool) -> None:
    message = {name: value for name, value in said.model_dump().items() if value and name != "verb"}
    say(f"Send it as the signal '{said.verb}': More Actions, Send a Signal.")
    text = json.dumps(message, indent=2)
    answer("sign", message, as_json=as_json, human=lambda c: c.out(text, highlight=False))


def life_of(text: str) -> timedelta:
    """Return for how long a signature is to be good; raise ``Refused`` for what is no such time."""
    life = parse_duration(text)
    if not isinstance(life, timedelta) or not timedelta() < life <= LONGEST_LIFE:
        raise Refused(
            f"{text!r} is no life for a signature",
            hint="write 30m or 1h, a day at most",
            code="life-unusable",
        )
    return life


def _write(path: Path, pem: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The mode is set when the file is made: there is no instant in which others can read it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise Refused("there is a key already", where=str(path), code="key-exists") from None
    except OSError as error:
        raise Refused(
            f"the key cannot be written: {error.strerror}", where=str(path), code="key-file"
        ) from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(_LARGEST_KEY_BYTES)
    except OSError as error:
        raise Refused(f"the key cannot be read: {error.strerror}", where=str(path), code="key-file") from None
    if mode & 0o077:
        raise Refused(
            "others can read the private key", where=str(path), hint=f"chmod 600 {path}", code="key-exposed"
        )
    return pem
