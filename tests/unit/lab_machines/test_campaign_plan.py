"""The runs of the campaign of image storage are drawn from the seed alone."""

from tests.lab.long.campaign_plan import CELLS, STATES, Plan, Result, draw, line_of, table


def test_a_run_is_the_same_by_itself() -> None:
    in_order = [draw(1, number) for number in range(1, 30)]
    assert draw(1, 17) == in_order[16]
    assert draw(2, 17) != in_order[16]


def test_as_many_runs_as_cells_have_each_fault_in_each_state() -> None:
    for first in (1, CELLS + 1):
        plans = [draw(5, number) for number in range(first, first + CELLS)]
        assert len({(plan.state, plan.fault_text) for plan in plans}) == CELLS
        assert all(0 <= plan.delay_seconds <= STATES[plan.state] for plan in plans)


def test_the_next_round_has_another_order() -> None:
    assert [draw(5, number)[2:5] for number in range(1, 9)] != [
        draw(5, number + CELLS)[2:5] for number in range(1, 9)
    ]


def test_table_has_a_row_for_each_state_and_fault() -> None:
    first = Plan(1, 3, "local", "nas", "power", 0.5, 4.0, 300)
    results = [
        Result(first, "went on", 4.2),
        Result(first._replace(number=9), "unblocked", 8.6),
        Result(first._replace(number=10), "went on", 1.0),
        Result(first._replace(number=11, state="mapping", machine="", fault="broker down"), "went on", 2.0),
    ]
    assert table(results).splitlines()[2:] == [
        "| mapping | broker down | 1 | went on | 2 |",
        "| local | nas power | 3 | went on; unblocked | 9 |",
    ]
    assert line_of(results[0]) == "SEED=1 RUN=3: local, after 0.5 s nas power for 4 s: went on, 4 s"
