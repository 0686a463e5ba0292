"""A Temporal server as others run it: behind mutual TLS, with a namespace of its own and few rights.

The real embedded server stands behind a gRPC proxy that ends TLS, asks for a client certificate and can
deny methods as an authoriser does.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER_NAME = "temporal.example.org"
_AT_ONCE = 64


class Authority:
    """A certificate authority that lives as long as a test."""

    def __init__(self, name: str, directory: Path) -> None:
        """Keep everything below ``directory``."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._directory = directory
        self.certificate = directory / f"{name}.crt"
        basic = x509.BasicConstraints(ca=True, path_length=0)
        made = self._builder(self._name, self._key).add_extension(basic, critical=True)
        self.certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))])
        made = self._builder(subject, key).add_extension(names, critical=False)
        certificate, secret = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        secret.touch(mode=0o600)
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, secret

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        day = timedelta(days=1)
        return x509.CertificateBuilder(
            issuer_name=self._name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - day,
            not_valid_after=now + day,
        )


@dataclass
class Door(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Hands every call on to the real server, but for the methods that are denied."""

    inside: str
    denied: set[str] = field(default_factory=set)
    called: list[str] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        """Open the channel to the real server, on loopback."""
        self._channel = grpc.insecure_channel(self.inside)

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method."""
        method = str(handler_call_details.method)
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: self._hand_on(method, request, context)
        )

    def close(self) -> None:
        """Let go of the real server."""
        self._channel.close()

    def _hand_on(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        self.called.append(name)
        if name in self.denied:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Request unauthorized.")
        given = [
            pair for pair in context.invocation_metadata() if not pair[0].startswith((":", "user-agent"))
        ]
        answer = b""
        try:
            answer = self._channel.unary_unary(method)(
                request, timeout=context.time_remaining(), metadata=given
            )
        except grpc.RpcError as error:
            context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
            context.abort(error.code(), error.details())
        return answer


@contextmanager
def behind_mutual_tls(inside: str, authority: Authority) -> Iterator[Door]:
    """Serve a door in front of the server at ``inside``; only certificates of the authority come in."""
    certificate, key = authority.issue(SERVER_NAME)
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=authority.certificate.read_bytes(),
        require_client_auth=True,
    )
    door = Door(inside)
    listening = grpc.server(ThreadPoolExecutor(_AT_ONCE), handlers=(door,))
    door.port = listening.add_secure_port("127.0.0.1:0", credentials)
    listening.start()
    try:
        yield door
    finally:
        listening.stop(None).wait()
        door.close()
