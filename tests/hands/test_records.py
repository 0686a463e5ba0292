import threading
from pathlib import Path

from activities.records import Records


def test_a_record_is_read_back_replaced_and_removed(tmp_path: Path) -> None:
    records = Records(tmp_path)
    assert records.read("swap", "r1") is None
    records.write("swap", "r1", {"a": 1})
    records.write("swap", "r1", {"a": 2})
    assert records.read("swap", "r1") == {"a": 2}
    assert [path.name for path in (tmp_path / "swap").iterdir()] == ["r1.json"]
    records.remove("swap", "r1")
    records.remove("swap", "r1")
    assert records.read("swap", "r1") is None


def test_of_racing_attempts_one_record_stands_and_all_are_told_so(tmp_path: Path) -> None:
    records = Records(tmp_path)
    told: list[dict[str, int]] = []
    ready = threading.Barrier(8)

    def attempt(number: int) -> None:
        ready.wait()
        told.append(records.write_once("swap", "r1", {"by": number}))

    racing = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in racing:
        thread.start()
    for thread in racing:
        thread.join()
    assert told == [records.read("swap", "r1")] * 8
    assert [path.name for path in (tmp_path / "swap").iterdir()] == ["r1.json"]
