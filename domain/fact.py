"""A value that is exactly what its text states."""

from pydantic import BaseModel, ConfigDict


class Fact(BaseModel):
    """A part of a stack file, or another text that is read strictly: unknown keys are refused."""

    # What is refused is not repeated: it may be a password in the wrong place.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
