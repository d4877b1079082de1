"""R18's rows, of the times of both ways."""

from bench.image_to_ssh import Durations, rows


def test_rows_are_what_rocks_adds_to_a_bare_boot() -> None:
    found = rows(Durations(20.5, 320), Durations(2, 300), Durations(6.25, 304), Durations(2, 300.5))
    assert [row.found for row in found] == ["3.50 s", "4.25 s", "20.00 s", "18.50 s"]
    assert [row.verdict for row in found] == ["met", "-", "-", "-"]
    assert rows(Durations(9, 9), Durations(1, 1), Durations(9, 306), Durations(1, 300))[0].verdict == "missed"
