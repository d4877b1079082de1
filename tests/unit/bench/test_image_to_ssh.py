"""R18's rows, of the times of both ways."""

from bench.image_to_ssh import Durations, rows


def test_rows_are_what_rocks_adds_to_a_bare_boot() -> None:
    again = [Durations(6.25, 304), Durations(7, 390), Durations(6, 303)]
    bare = [Durations(2, 300.5), Durations(2, 280), Durations(3, 301)]
    found = rows(Durations(20.5, 320), Durations(2, 300), again, bare)
    assert [row.found for row in found] == ["3.50 s", "4.25 s", "20.00 s", "18.50 s"]
    assert [row.verdict for row in found] == ["met", "-", "-", "-"]
    missed = rows(Durations(9, 9), Durations(1, 1), [Durations(9, 306)], [Durations(1, 300)])
    assert missed[0].verdict == "missed"
