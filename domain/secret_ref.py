"""How a stack file names a service, and a secret that only the hand in need resolves."""

from typing import Annotated

from pydantic import StringConstraints

SERVICE = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
"""Compose's own rule for the name of a service, without those that begin with a sign."""
REFERENCE = rf"^(container:{SERVICE}:[A-Za-z_][A-Za-z0-9_]*|env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$"

ServiceName = Annotated[str, StringConstraints(pattern=rf"^{SERVICE}$")]

SecretRef = Annotated[str, StringConstraints(pattern=REFERENCE)]
