"""Finds the containers of a stack by their compose labels, and proves that they are the right ones."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio import activity

from activities.clocks import Clocks, of_temporal, told
from activities.engine import ContainerState, Engine
from activities.leftovers import leftovers
from activities.postgres.sql import Sql
from activities.postgres_target import postgres_target
from activities.probes import Probes
from activities.secrets import Secrets
from domain.errors import Refused
from domain.names import COMPOSE_PROJECT, COMPOSE_SERVICE
from domain.order import Facts, ServiceTarget, StackOrder, Target, TargetOrder, VolumeMount
from domain.recovery import Judged
from domain.stack import Kind, Service, Stack
from domain.stack_file import parse_stack

_DEPENDS_ON = "com.docker.compose.depends_on"


class Containers:
    """Looks at the containers of the known stacks; changes nothing."""

    def __init__(
        self,
        engine: Engine,
        stacks: Mapping[str, Path],
        default: str,
        state: Path,
        probes: Probes | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        """``stacks`` maps the name of a stack to its file; ``state`` is DR_STATE."""
        self._engine = engine
        self._stacks = stacks
        self._default = default
        self._state = state
        self._probes = probes
        self._clocks = clocks or Clocks(engine, Sql(Secrets(engine)))

    @activity.defn(no_thread_cancel_exception=True)
    def observe_stack(self, order: StackOrder) -> Facts:
        """Read the stack file and resolve it on this host.

        Raises ``Refused``: ``stack-unknown``, ``stack-file``, ``service-missing``,
        ``service-ambiguous``, ``target-foreign``, ``pgdata-not-in-volume``.
        """
        temporal = of_temporal()
        stack, digest = self._read(order.stack or self._default or next(iter(self._stacks), ""))
        found: dict[str, ContainerState] = {}
        for name, service in stack.services.items():
            container = self._resolve(stack, name, service)
            if container is not None:
                found[name] = container
        services = tuple(
            self._describe(name, stack.services[name], container, tuple(found))
            for name, container in found.items()
        )
        server, _ = _only_server(stack)
        target = Target(
            stack=stack.stack,
            project=stack.project,
            postgres=postgres_target(
                self._engine,
                order.recovery_id,
                next(service for service in services if service.name == server),
                stack.services[server],
                found[server],
            ),
            services=services,
            shelf=str((self._state / stack.backup.shelf).resolve()),
        )
        absent = [name for name in stack.services if name not in found]
        found_here = leftovers(self._engine, self._state, target, but=order.recovery_id)
        left = [one for one in found_here if not one.over]
        return Facts(
            sentence=_sentence(target, absent, len(left)),
            stack=stack,
            stack_digest=digest,
            target=target,
            code_version=importlib.metadata.version("dr"),
            clocks=told(self._clocks.measure(target, *temporal)),
            leftovers=tuple(one.sentence for one in left),
            unfinished=tuple(one.recovery_id for one in left if one.flagged),
        )

    @activity.defn(no_thread_cancel_exception=True)
    def observe_health(self, order: TargetOrder) -> Judged:
        """Ask each service by its own protocol whether it works now; one proof each."""
        probes = self._probes or Probes(self._engine)
        proofs = tuple(probes.probe(order.target, service) for service in order.target.services)
        ill = [proof.name for proof in proofs if proof.passed is not True]
        return Judged(
            passed=not ill,
            proofs=proofs,
            sentence=f"{len(proofs) - len(ill)} of {len(proofs)} services answer"
            + (f"; not proven healthy: {', '.join(ill)}" if ill else ""),
        )

    def _read(self, name: str) -> tuple[Stack, str]:
        path = self._stacks.get(name)
        if path is None:
            raise Refused(
                f"no stack is named {name}",
                hint=f"known here: {', '.join(sorted(self._stacks)) or 'none'}",
                code="stack-unknown",
            )
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(
                f"the stack file cannot be read: {type(error).__name__}",
                where=str(path),
                code="stack-file",
            ) from error
        stack, digest = parse_stack(text, str(path))
        if stack.stack != name:
            raise Refused(
                f"the file of stack {name} describes {stack.stack}",
                where=str(path),
                code="stack-file",
            )
        return stack, digest

    def _resolve(self, stack: Stack, name: str, service: Service) -> ContainerState | None:
        if service.container is not None:
            found = self._engine.look(service.container)
            if found is not None and found.labels.get(COMPOSE_PROJECT) != stack.project:
                raise _foreign(found, name, stack.project)
            if found is not None:
                return found
        labelled = self._engine.find(stack.project, name)
        if len(labelled) > 1:
            raise Refused(
                f"{len(labelled)} containers are service {name} of project {stack.project}",
                where=", ".join(sorted(container.name for container in labelled)),
                hint="remove the extra ones, or name the right one as container in the stack file",
                code="service-ambiguous",
            )
        if labelled:
            return labelled[0]
        self._refuse_foreign(stack.project, name)
        if service.optional:
            return None
        raise Refused(
            f"no container is service {name} of project {stack.project}",
            where="labels of docker compose",
            hint="create it with docker compose, or mark it optional in the stack file",
            code="service-missing",
        )

    def _refuse_foreign(self, project: str, name: str) -> None:
        """Refuse a container that looks right by its name and belongs to somebody else (F-B3)."""
        prefixes = {project}
        for sibling in self._engine.find(project):
            service = sibling.labels.get(COMPOSE_SERVICE, "")
            prefix = sibling.name.removesuffix("-1").removesuffix(service)
            if service and prefix != sibling.name:
                prefixes.add(prefix.rstrip("_-"))
        for prefix in sorted(prefixes):
            for candidate in (f"{prefix}_{name}", f"{prefix}-{name}", f"{prefix}-{name}-1"):
                found = self._engine.look(candidate)
                if found is not None and found.labels.get(COMPOSE_PROJECT) != project:
                    raise _foreign(found, name, project)

    def _describe(
        self, name: str, service: Service, container: ContainerState, present: tuple[str, ...]
    ) -> ServiceTarget:
        raw = container.raw
        needed = service.depends_on
        if needed is None:
            stated = container.labels.get(_DEPENDS_ON, "")
            needed = tuple(part.partition(":")[0] for part in stated.split(",") if part)
        policy = raw["HostConfig"].get("RestartPolicy") or {}
        secrets = dict(service.secrets)
        if service.password:
            secrets["password"] = service.password
        return ServiceTarget(
            name=name,
            kind=service.kind,
            container_id=container.id,
            container_name=container.name,
            image=raw["Config"]["Image"],
            image_id=container.image_id,
            state=container.status,
            health=(raw["State"].get("Health") or {}).get("Status", ""),
            restart_policy=policy.get("Name") or "no",
            restart_count=raw.get("RestartCount", 0),
            volumes=self._volumes(raw),
            networks=tuple(sorted(raw["NetworkSettings"]["Networks"] or {})),
            published=_published(raw),
            depends_on=tuple(other for other in needed if other in present),
            port=service.port,
            user=service.user,
            secrets=secrets,
            optional=service.optional,
        )

    def _volumes(self, raw: Mapping[str, Any]) -> tuple[VolumeMount, ...]:
        mounts = []
        for mount in raw.get("Mounts") or []:
            if mount.get("Type") != "volume":
                continue
            volume = self._engine.volume(mount["Name"]) or {}
            mounts.append(
                VolumeMount(
                    volume=mount["Name"],
                    path=mount["Destination"],
                    driver=mount.get("Driver") or "local",
                    plain=not volume.get("Options"),
                )
            )
        return tuple(sorted(mounts, key=lambda mount: mount.path))


def _foreign(found: ContainerState, service: str, project: str) -> Refused:
    owner = found.labels.get(COMPOSE_PROJECT)
    belongs = f"belongs to project {owner}" if owner else "belongs to no compose project"
    return Refused(
        f"the container {found.name} has the name of service {service} but {belongs}",
        where=f"expected project {project}",
        hint="check the project in the stack file; nothing of another project is ever touched",
        code="target-foreign",
    )


def _published(raw: Mapping[str, Any]) -> dict[str, int]:
    # A stopped container has no live bindings, but the configured ones come back when it starts.
    live = raw["NetworkSettings"].get("Ports") or {}
    bindings = live or raw["HostConfig"].get("PortBindings") or {}
    ports: dict[str, int] = {}
    for port, places in bindings.items():
        for place in places or []:
            usable = place.get("HostIp", "") in {"", "0.0.0.0", "127.0.0.1"}  # noqa: S104 - read
            if usable and (place.get("HostPort") or "0") != "0":
                ports[port.partition("/")[0]] = int(place["HostPort"])
    return ports


def _only_server(stack: Stack) -> tuple[str, Service]:
    server = stack.only(Kind.POSTGRES)
    if server is None:  # parse_stack has refused such a file already
        raise Refused("the stack has no service of kind postgres", code="stack-file")
    return server


def _sentence(target: Target, absent: list[str], left: int) -> str:
    running = sum(service.state == "running" for service in target.services)
    said = (
        f"Stack {target.stack} is project {target.project} here: {len(target.services)} services, "
        f"{running} running; data of PostgreSQL in volume {target.postgres.volume}"
    )
    if left:
        said += f"; left by {left} other recoveries: see the report, and dr doctor"
    return f"{said}; not configured: {', '.join(absent)}" if absent else said
