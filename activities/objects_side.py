"""The way to the object stores: the live one of a target, and where the contents of its copies lie."""

from pathlib import Path

from activities.bucket import Bucket
from activities.engine import Engine
from activities.ledger_places import Sought, find_place
from activities.objects_blobs import Blobs, FarBlobs, ShelfBlobs
from activities.objects_store import ObjectStore
from activities.offsite_side import Connect, FarAddress, address_of
from activities.secrets import Secrets
from domain.errors import Refused
from domain.objects_copy import STORE
from domain.objects_policy import SecondStore
from domain.order import ServiceTarget, Target
from domain.stack import Kind

_REGION = "us-east-1"
_PORT = 9000


class ObjectsSide:
    """Opens the stores that an order names."""

    def __init__(self, engine: Engine, secrets: Secrets, connect: Connect) -> None:
        """``connect`` builds boto3's client for S3."""
        self.engine = engine
        self._secrets = secrets
        self._connect = connect

    def service(self, target: Target, name: str) -> ServiceTarget:
        """Return the service of a name, or the target's object store; ``Refused`` when there is none."""
        wanted = [one for one in target.services if one.kind is Kind.OBJECTS and name in {"", one.name}]
        if wanted:
            return wanted[0]
        raise Refused(
            f"the stack has no object store {name}".rstrip(),
            where=target.stack,
            hint="a service of kind objects is needed in stack.yaml",
            code="service-unknown",
        )

    def live(self, target: Target, service: ServiceTarget) -> ObjectStore:
        """Return the live store; ``Unavailable`` when it does not run, ``Refused`` without its keys."""
        sought = Sought(
            project=target.project,
            service=service.name,
            kind=service.kind,
            port=service.port or _PORT,
            container=service.container_name,
            references=service.secrets,
        )
        place = find_place(self.engine, self._secrets, sought)
        keys = (place.secrets.get("access_key", ""), place.secrets.get("secret_key", ""))
        return self.at(f"http://{place.host}:{place.port}", *keys, name=f"the object store {service.name}")

    def refuse_itself(self, store: ObjectStore, second: SecondStore | None) -> None:
        """Refuse a second store that is the first one: its loss would be the loss of both."""
        endpoint = second.endpoint if second is not None else None
        if endpoint is not None and _spelled(endpoint) == _spelled(store.endpoint):
            raise Refused(
                "the second store is the object store itself",
                where=endpoint,
                hint="name another store under backup.second_store, best on another host",
                code="second-store-itself",
            )

    def at(self, endpoint: str, access_key: str, secret_key: str, *, name: str) -> ObjectStore:
        """Return the store at an address."""
        if not access_key or not secret_key:
            raise Refused(
                f"{name} is not known by its keys",
                hint="name access_key and secret_key of the service in stack.yaml",
                code="secret-missing",
            )
        return ObjectStore(
            self._connect(FarAddress(endpoint, _REGION, access_key, secret_key)), name, endpoint
        )

    def blobs(self, target: Target, second: SecondStore | None) -> Blobs:
        """Return where contents lie: in the second store, or on the shelf where there is none."""
        if second is None:
            return ShelfBlobs(Path(target.shelf) / STORE)
        address = address_of(second, self._secrets, target.project)
        return FarBlobs(Bucket(self._connect(address), second), second, target.stack)


def _spelled(endpoint: str) -> str:
    return endpoint.rstrip("/").replace("//localhost", "//127.0.0.1")
