"""The benchmarks' stand-in for the hands can take their place in the worker's own program."""

from bench.answering import Answering
from worker.wiring import Hands


def test_the_hands_that_only_answer_offer_whatever_the_workers_program_asks_of_its_hands() -> None:
    asked = {name for name, value in vars(Hands).items() if callable(value) and not name.startswith("_")}
    assert {"control", "host", "backup_metrics"} <= asked
    assert asked <= set(vars(Answering))
