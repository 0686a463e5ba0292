"""Questions that a draft leaves to people: asked once, answered by id, remarked at their place."""

from collections.abc import Mapping

from domain.errors import Refused
from domain.order import Value


class Question(Value):
    """What nobody but the operator knows; ``id`` is what an answer is given under."""

    id: str
    asks: str
    until_then: str
    """What holds while it is open."""
    choices: tuple[str, ...] = ()


class Pad:
    """Keeps the open questions of a draft, and its remarks by place (``services.db``)."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        """``answers`` are by the ids of questions."""
        self._answers = dict(answers)
        self._ids: set[str] = set()
        self.open: list[Question] = []
        self.remarks: dict[str, list[str]] = {}

    def ask(self, place: str, question: Question) -> str | None:
        """Return the answer to a question; an open one is remarked at its place.

        Raises ``Refused`` (``answer-wrong``) for an answer that is none of the choices.
        """
        answer = self.answer(question.id)
        if answer is None:
            self.open.append(question)
            self.remark(place, f"ASK: {question.asks} [{question.id}]")
            self.remark(place, f"Until then: {question.until_then}.")
        elif question.choices and answer not in question.choices:
            raise wrong(question.id, answer, f"one of {', '.join(question.choices)}")
        return answer

    def answer(self, name: str) -> str | None:
        """Return the answer given under an id, and know that there is such a question."""
        self._ids.add(name)
        return self._answers.get(name)

    def remark(self, place: str, line: str) -> None:
        """Note a line above a place of the file."""
        self.remarks.setdefault(place, []).append(line)

    def refuse_unknown(self) -> None:
        """Raise ``Refused`` (``answer-unknown``) for an answer that no question asked for."""
        unknown = sorted(set(self._answers) - self._ids)
        if unknown:
            raise Refused(
                f"no question is named {', '.join(unknown)}",
                hint=f"questions of this project: {', '.join(sorted(self._ids))}",
                code="answer-unknown",
            )


def wrong(question: str, answer: str, wanted: str) -> Refused:
    """Return the refusal of an answer that cannot be used."""
    return Refused(f"{question}={answer}: wanted is {wanted}", code="answer-wrong")
