"""How a stack file names a secret that only the hand in need resolves."""

from typing import Annotated

from pydantic import StringConstraints

REFERENCE = r"^(container:[a-z0-9_-]+:[A-Z0-9_]+|env:[A-Z0-9_]+|file:/.+)$"

SecretRef = Annotated[str, StringConstraints(pattern=REFERENCE)]
