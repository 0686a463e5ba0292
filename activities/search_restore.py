"""Brings a search engine back from a backup: loaded and compared beside the live one, then exchanged."""

from pathlib import Path

from temporalio import activity

from activities import entries, stored
from activities.alone import alone
from activities.belonging import refuse_foreign
from activities.engine import Engine
from activities.records import Records
from activities.search_backup import search_entry
from activities.search_contents import seen_as_recorded
from activities.search_copy import SearchCopy
from activities.search_place import SearchPlace, place_of_search, search_client, search_of
from activities.search_tasks import SearchServer
from activities.secrets import Secrets
from activities.tokens import Tokens
from activities.volume_exchange import VolumeExchange
from domain.entries import Entry
from domain.errors import BackupUnusable, Refused, Unavailable, VerificationFailed
from domain.holdings import compare_holdings
from domain.names import LABEL_RECOVERY, LABEL_ROLE, LABEL_STACK, volume_name
from domain.order import ServiceTarget
from domain.recovery import Proof
from domain.search_restore import SearchRestored, SearchRestoreOrder, instead, misfit, told

ROLE = "search-copy"
_UP_SECONDS = 300.0


class SearchRestoring:
    """Restores a search engine; nothing of it stops before the backup was loaded and compared."""

    def __init__(
        self, engine: Engine, secrets: Secrets, tokens: Tokens, state: Path, tools_image: str
    ) -> None:
        """Act through these clients; ``state`` is DR_STATE, ``tools_image`` exchanges volumes."""
        self._engine = engine
        self._secrets = secrets
        self._tokens = tokens
        self._state = state
        self._records = Records(state)
        self._tools_image = tools_image

    @activity.defn(no_thread_cancel_exception=True)
    def ensure_search_restored(self, order: SearchRestoreOrder) -> SearchRestored:
        """Have the engine hold what a backup holds, with the data until then kept aside.

        Raises ``Refused`` before anything stops: ``search-version`` for a snapshot of another version or a
        dump of a newer one, with what can be done instead, ``search-not-empty``; ``BackupUnusable``;
        ``VerificationFailed`` when the loaded backup is not what was recorded.
        """
        target = order.target
        self._tokens.admit(order, target.stack)
        if not order.recovery_id:
            raise Refused("no recovery is named, so the old data could not be found again", code="usage")
        service = search_of(target, order.service)
        place = place_of_search(self._engine, target, service)
        exchange = VolumeExchange(self._engine, self._records, self._tools_image, order, service)
        volume = volume_name(order.recovery_id, service.name, 1)
        with alone(self._state, f"restore-search-{target.stack}"):
            entry = search_entry(target, order.entry_id)
            refuse_foreign(entry, target.stack)
            if exchange.record() is None:
                self._load(order, service, place, entry, volume)
            exchange.ensure_exchanged(place.volume, volume)
            proofs = self._proven(order, service, exchange, entry)
        said = f"Search serves {entry.kind} {entry.id}: {told(entry.held)}; the data until then are kept in"
        return SearchRestored(
            entry_id=entry.id, kept_volume=volume, proofs=proofs, sentence=f"{said} {volume}"
        )

    def _load(
        self,
        order: SearchRestoreOrder,
        service: ServiceTarget,
        place: SearchPlace,
        entry: Entry,
        volume: str,
    ) -> None:
        """Load a backup into a volume of its own, and compare it there with what was recorded."""
        target = order.target
        directory = entries.directory_of(Path(target.shelf), entry)
        wrong = stored.what_differs(directory, entry.files)
        if wrong:
            raise BackupUnusable(f"backup {entry.id}: {wrong}", where=str(directory), code="backup-damaged")
        self._refuse_misfit(order, service, entry)
        labels = {
            LABEL_RECOVERY: order.recovery_id,
            LABEL_STACK: target.stack,
            LABEL_ROLE: ROLE,
        }
        copy = SearchCopy(self._engine, place, volume, labels)
        copy.remove()
        try:
            copy.load(directory, entry)
            _require(compare_holdings(entry.held, seen_as_recorded(copy.get, entry.held)), entry)
            copy.finish()
        except BaseException:
            copy.remove()
            raise

    def _refuse_misfit(self, order: SearchRestoreOrder, service: ServiceTarget, entry: Entry) -> None:
        """Refuse by version; an engine that does not answer is of the version that its image wrote last."""
        listed = entries.read_entries(Path(order.target.shelf))[0]
        version = self._version(order, service)
        if not version:
            same = (one for one in listed if one.source.image_id == service.image_id and one.source.version)
            version = next((one.source.version for one in same if one.store == entry.store), "")
        problem = misfit(entry, version)
        if problem:
            raise Refused(
                f"backup {entry.id} does not fit: {problem}",
                where=service.name,
                hint=instead(listed, version),
                code="search-version",
            )

    def _version(self, order: SearchRestoreOrder, service: ServiceTarget) -> str:
        try:
            with search_client(self._engine, self._secrets, order.target, service) as client:
                return SearchServer(client).version()
        except Unavailable:
            return ""

    def _proven(
        self, order: SearchRestoreOrder, service: ServiceTarget, exchange: VolumeExchange, entry: Entry
    ) -> tuple[Proof, ...]:
        """Wait until the live engine answers, and see that it holds what was recorded at least."""

        def counted() -> tuple[Proof, ...]:
            with search_client(self._engine, self._secrets, order.target, service) as client:
                return _counted(SearchServer(client), entry)

        proofs = exchange.serve(counted, lambda why: self._not_up(service, why), limit_seconds=_UP_SECONDS)
        _require(proofs, entry)
        return proofs

    def _not_up(self, service: ServiceTarget, why: str) -> Unavailable:
        log = self._engine.logs(service.container_id, tail=5).strip()
        return Unavailable(
            f"search does not come up: {log[-300:] or why}",
            where=service.container_name,
            code="search-not-up",
        )


def _counted(server: SearchServer, entry: Entry) -> tuple[Proof, ...]:
    # Users write again as soon as it answers, so that numbers only grow: equality was shown before.
    seen = {one.name: one for one in seen_as_recorded(server.get, entry.held)}
    proofs = []
    for one in entry.held:
        now = seen.get(one.name)
        there = now.count if now is not None else 0
        said = f"{there:,} documents, {one.count:,} were in the backup"
        proofs.append(Proof(name=one.name, passed=now is not None and there >= one.count, evidence=said))
    return tuple(proofs)


def _require(proofs: tuple[Proof, ...], entry: Entry) -> None:
    wrong = next((proof for proof in proofs if proof.passed is not True), None)
    if wrong is not None or not proofs:
        why = f"{wrong.name}: {wrong.evidence}" if wrong is not None else "nothing was seen"
        raise VerificationFailed(
            f"the index restored from {entry.id} is not what was recorded: {why}",
            where=entry.path,
            hint="take another backup, or have the index rebuilt from SQL",
            code="search-not-restored",
        )
