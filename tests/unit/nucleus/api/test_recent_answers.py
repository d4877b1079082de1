"""What many ask for is found out once in a while, and nobody waits for it but who looks."""

import pytest

from nucleus.api.recent_answers import RecentAnswer


def test_what_was_found_lately_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("nucleus.api.recent_answers.time.monotonic", lambda: now[0])
    recent, found = RecentAnswer[int](5.0), iter(range(9))
    assert [recent.get(lambda: next(found)) for _ in range(3)] == [0, 0, 0]
    now[0] += 5
    assert recent.get(lambda: next(found)) == 1


def test_others_get_what_is_known_while_one_looks() -> None:
    recent, others = RecentAnswer[int](0.0), list[int | None]()

    def look() -> int:
        others.append(recent.get(lambda: 9))
        return len(others)

    assert [recent.get(look), recent.get(look)] == [1, 2]
    assert others == [None, 1], "nothing at first"


def test_who_fails_leaves_the_turn_to_the_next() -> None:
    recent = RecentAnswer[int](5.0)
    with pytest.raises(ZeroDivisionError):
        recent.get(lambda: 1 // 0)
    assert recent.get(lambda: 7) == 7
