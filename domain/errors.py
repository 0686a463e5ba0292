"""The few errors of the product, named for the reaction they deserve.

::

    DrError
    |-- Refused             nothing was changed; the cure is in the hint
    |-- BackupUnusable      try an older backup
    |-- Unavailable         a system does not answer; try again
    `-- VerificationFailed  the data is back but wrong: park

Each carries *what*, *where*, a *hint* and a stable *code* that exit statuses and alerts may rely on.
"""

from domain.inert import quoted


class DrError(Exception):
    """An error that a person can act on.

    ``code`` is stable: lower case words joined by hyphens, for example ``stack-unknown``.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "", code: str) -> None:
        """Keep the four parts; the message joins those that are there.

        They may quote what others said: on one line, of a length that can be read, without its secrets.
        """
        self.what = quoted(what)
        self.where = quoted(where)
        self.hint = quoted(hint)
        self.code = code
        super().__init__(self.what)

    def __str__(self) -> str:
        """Return the error as one line: what, where, hint and code."""
        parts = [self.what]
        if self.where:
            parts.append(f"({self.where})")
        if self.hint:
            parts.append(f"HINT: {self.hint}")
        return f"{' '.join(parts)} [{self.code}]"


class Refused(DrError):
    """The request must not be carried out; nothing was changed."""


class BackupUnusable(DrError):
    """This backup cannot be used; an older one may be."""


class Unavailable(DrError):
    """A system does not answer now; trying again may help."""


class VerificationFailed(DrError):
    """The data is back but wrong, or could not be shown to be right."""
