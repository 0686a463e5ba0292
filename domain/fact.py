"""A value that is exactly what its text states."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

INVISIBLE = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
"""Characters that nobody sees, or that make a line read differently from what it says: part of a pattern."""
Line = Annotated[str, StringConstraints(pattern=rf"^[^{INVISIBLE}]+$", max_length=200)]
"""One line of words that are what they look like."""


class Fact(BaseModel):
    """A part of a stack file, or another text that is read strictly: unknown keys are refused."""

    # What is refused is not repeated: it may be a password in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
