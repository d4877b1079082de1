"""The table of figures, and the page that it goes into."""

from pathlib import Path

import pytest

from bench import page, picture
from bench.table import at_most, markdown, not_measured, read_markdown, without_goal
from rocks.core.errors import UserError
from rocks.core.process import run_checked

TEXT = f"# Figures\n\n{page.BEGIN}\nold\n{page.END}\n\nWhat they mean.\n"


def test_a_limit_is_met_up_to_itself() -> None:
    assert at_most("R1", "boot", 1.1, 1.1, "", "so").verdict == "met"
    assert at_most("R1", "boot", 1.2, 1.1, "s", "so")[2:5] == ("1.20 s", "<= 1.1 s", False)
    assert at_most("R10", "list", 0.3, 0.326748, "s", "so")[2:5] == ("0.30 s", "<= 0.33 s", True)


def test_what_was_not_measured_has_no_verdict_and_says_why_in_one_cell() -> None:
    row = not_measured("R4", "rate", "`a | b` failed:\n  it is\tgone")
    assert (row.verdict, row.found) == ("-", "-")
    assert row.how == "not measured: `a / b` failed: it is gone"
    assert without_goal("R4", "plain", "3 MB/s", "by socat").verdict == "-"


def test_every_line_of_the_table_has_as_many_cells() -> None:
    text = markdown(
        [not_measured("R4", "rate", "no lab"), at_most("R17", "memory", 40, 80, "MB", "resident")]
    )
    assert {line.count("|") for line in text.splitlines()} == {7}


def test_a_page_gets_the_figures_between_its_markers(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(TEXT, encoding="utf-8")
    page.check_markers(file)
    rows = [at_most("R17", "memory", 40, 80, "MB", "resident")]
    page.put_figures(file, (), "2 cores", rows, ["Stalls:\n\n```\n1\n```"])
    new = f"2 cores\n\n{markdown(rows)}\n\nStalls:\n\n```\n1\n```"
    assert file.read_text(encoding="utf-8") == TEXT.replace("old", new)
    assert "R17 memory" in file.with_suffix(".svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("found", "goal", "share"),
    [
        ("0.15 s", "<= 0.3 s", 0.5), ("-0.02 s", "<= 0.3 s", 0), ("0.45", ">= 0.90", 2),
        ("20 in 1", "<= 20 in 1", None), ("1 s", "<= 10 ms", None), ("0 B", "0 B", None), ("-", "", None),
        ("25 ms, 36 ms", "<= longest", None), ("0.37", "", None),
    ],
)  # fmt: skip
def test_a_bar_is_as_long_as_what_was_needed_of_the_goal(found: str, goal: str, share: float | None) -> None:
    row = at_most("R1", "a < b", 1, 2, "s", "so")._replace(found=found, goal=goal)
    assert picture.share_of_goal(row) == share
    assert ("R1 a &lt; b" in picture.svg([row])) == (share is not None)


def test_a_ratio_without_a_goal_is_drawn_against_its_peer() -> None:
    row = without_goal("R2", "`rocks` / `virsh`", "0.37", "so")
    assert picture.share_of_goal(row) == 0.37
    assert picture.share_of_goal(row._replace(found="0.37 s")) is None


def test_the_picture_has_the_ten_latest_results_of_a_row(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text(TEXT, encoding="utf-8")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    run_checked([*git, "init", "--quiet"], deadline_seconds=20)
    for size in (*range(20, 32), 31):  # the last one is no new result
        rows = [
            at_most("R17", "memory", size, 80, "MB", f"resident, {size}"),
            without_goal("R8", "old", "1 s", "so"),
        ]
        page.put_figures(file, (), "2 cores", rows, [])
        run_checked([*git, "add", "."], deadline_seconds=20)
        run_checked([*git, "commit", "--quiet", "--allow-empty", "-m", str(size)], deadline_seconds=20)
    drawn = file.with_suffix(".svg").read_text("utf-8")
    assert drawn.count("<circle") == 10 and drawn.count("<rect") == 2


def test_a_run_of_some_figures_replaces_their_rows_lines_and_tables() -> None:
    rows = [at_most(number, "what", 1, 2, "s", "so") for number in ("R2", "R9", "R9", "R10")]
    later = [at_most("R9", "what", 3, 2, "s", "so")]
    old = page.output("2 cores", rows, ["Stalls:\n\n```\n1\n\n2\n```", "Bytes:\n\n```\n1\n```"])
    first = page.merged(old, {"R9", "R10"}, "load 4", [*later, rows[3]], ["Bytes:\n\n```\n2\n```"])
    failed = not_measured("R10", "what", "no lab")
    text = page.merged(first, {"R9", "R10"}, "load 1", [*later, failed], [])
    assert page.merged(text, {"R10"}, "load 9", [failed], []) == text, "it keeps what it has"
    assert text.startswith("2 cores\n\nR10: load 4\n\nR9: load 1\n\n|")
    assert text.endswith("Stalls:\n\n```\n1\n\n2\n```\n\nBytes:\n\n```\n2\n```")
    assert read_markdown(text[text.index("|") : text.index("\n\nStalls")]) == [rows[0], *later, rows[3]]


def test_a_run_changes_nothing_else_in_our_own_page() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/evidence/benchmarks.md").read_text("utf-8")
    old = text.partition(page.BEGIN)[2].partition(page.END)[0].strip()
    cells, _, tables = old[old.index("|") :].partition("\n\n")
    rows = read_markdown(cells)
    new = page.merged(old, {"R9"}, "now", [row for row in rows if row.number == "R9"], [])
    assert "R9: now" in new
    cells, _, new_tables = new[new.index("|") :].partition("\n\n")
    assert (read_markdown(cells), new_tables) == (rows, tables)


@pytest.mark.parametrize("text", ["", page.BEGIN, f"{page.END}{page.BEGIN}", TEXT + page.END])
def test_a_page_without_a_place_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "page.md"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="has no place for figures"):
        page.check_markers(file)
    with pytest.raises(UserError, match="cannot be read"):
        page.check_markers(tmp_path / "missing.md")


def test_our_own_page_has_the_place() -> None:
    page.check_markers(Path(__file__).resolve().parents[3] / "docs" / "evidence" / "benchmarks.md")
