"""The time of each part of a run."""

from tests.durations import seconds_by_part


def test_the_parts_are_folders_with_those_of_the_system_tests_apart_the_longest_first() -> None:
    tests = [
        ("tests/unit/wire/test_frames.py::test_a[1/2]", 0.5),
        ("tests/unit/cli/test_words.py::test_b", 0.5),
        ("tests/system/vms/test_moves.py::test_c", 4.0),
        ("tests/system/nucleus/api/test_limits.py::test_d", 2.0),
        ("tests/test_alone.py::test_e", 0.25),
    ]

    assert seconds_by_part(tests) == [
        ("tests/system/vms", 4.0),
        ("tests/system/nucleus", 2.0),
        ("tests/unit", 1.0),
        ("tests", 0.25),
    ]
