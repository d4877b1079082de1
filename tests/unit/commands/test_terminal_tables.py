"""Tables for a terminal: free text is wrapped, nothing else is cut, and states have colours."""

from rocks.commands._framework.tables import table_parts
from rocks.commands._framework.terminal_tables import (
    BOLD,
    MAX_LINES,
    NARROWEST,
    PLAIN,
    RED,
    RED_STATES,
    YELLOW,
    YELLOW_STATES,
    cut_line,
    fitted_widths,
    terminal_lines,
)
from rocks.core.check_lines import MISSING, OK, WRONG
from rocks.install.installation.states import State
from rocks.site.overview_rules import SILENT, UP
from rocks.storage.life.states import BLOCKED

HEADER = ("host", "mac", "comment")
MAC = "76:77:6e:80:00:00"
TEXT = "the machine in the corner, which nobody may switch off before the end of the year"


def lines(
    rows: list[tuple[object, ...]], width: int | None, header: tuple[str, ...] = HEADER, colour: bool = False
) -> list[str]:
    return list(terminal_lines(header, rows, None, True, "-", width, colour))


def test_a_table_that_fits_is_that_of_a_file() -> None:
    rows: list[tuple[object, ...]] = [("compute-0-0:", MAC, "short"), ("compute-0-1:", None, ""), ("x:",)]
    plain = [line for part in table_parts(HEADER, rows) for line in part]
    assert lines(rows, 80) == lines(rows, None) == plain


def test_free_text_is_wrapped_and_names_and_addresses_are_whole() -> None:
    found = lines([("compute-0-0:", MAC, TEXT), ("compute-0-1:", MAC, "short")], 60)
    assert max(map(len, found)) <= 60
    assert found[1].startswith(f"compute-0-0: {MAC} the machine")
    assert found[2].startswith(
        " " * len(f"compute-0-0: {MAC} ") + "which" if "which" in found[2][:40] else " "
    )
    assert " ".join(line[31:].strip() for line in found[1:-1]) == TEXT
    assert found[-1] == f"compute-0-1: {MAC} short".ljust(len(found[-1]))


def test_in_a_narrow_terminal_names_are_whole_all_the_same() -> None:
    found = lines([("compute-0-0:", MAC, TEXT)], 20)
    assert found[1].startswith(f"compute-0-0: {MAC} ")
    assert max(map(len, found)) == len(f"compute-0-0: {MAC} ") + NARROWEST


def test_a_long_word_and_a_very_long_text() -> None:
    found = lines([("h:", MAC, "x" * 100)], 60)
    assert "".join(line[23:].strip() for line in found[1:]) == "x" * 100
    found = lines([("h:", MAC, "word " * 1000)], 60)
    assert len(found) == 1 + MAX_LINES and found[-1].rstrip().endswith("…")


def test_the_widest_column_gives_first() -> None:
    names = {0: "host", 1: "reason", 2: "value"}
    assert fitted_widths({0: 10, 1: 20, 2: 80}, names, 72) == {0: 10, 1: 20, 2: 40}
    assert fitted_widths({0: 10, 1: 70, 2: 80}, names, 72) == {0: 10, 1: 30, 2: 30}
    assert fitted_widths({0: 10, 1: 20, 2: 30}, names, 72) == {0: 10, 1: 20, 2: 30}


def test_chosen_columns_without_a_header() -> None:
    rows: list[tuple[object, ...]] = [("h:", MAC, TEXT)]
    found = list(terminal_lines(HEADER, rows, ["mac", "comment"], False, "-", 200, False))
    assert found == [f"{MAC} {TEXT}"]


def test_headers_are_bold_and_states_that_need_an_operator_have_a_colour() -> None:
    header = ("subject", "state", "note")
    found = lines(
        [("a:", "up", "crashed"), ("b:", "crashed", ""), ("c:", "unknown (h1)", "")], 80, header, True
    )
    assert found[0] == f"{BOLD}SUBJECT{PLAIN} {BOLD}STATE{PLAIN}        {BOLD}NOTE{PLAIN}   "
    assert found[1] == "a:      up           crashed", "a note is no state"
    assert found[2] == f"b:      {RED}crashed{PLAIN}      -------"
    assert found[3] == f"c:      {YELLOW}unknown (h1){PLAIN} -------"
    assert not any("\033" in line for line in lines([("b:", "crashed", "")], 80, header, False))


def test_states_of_the_system_have_their_colour() -> None:
    red = {State.FAILED.value, State.FIRST_BOOT_FAILED.value, WRONG, MISSING, SILENT, BLOCKED}
    assert red <= RED_STATES
    assert not {OK, UP, State.CONFIGURED.value, "active", "off"} & (RED_STATES | YELLOW_STATES)


def test_text_from_elsewhere_sets_no_colour() -> None:
    found = lines([("h:", MAC, "\033[31mred\033[0m\r\n")], 200)
    assert found[1] == f"h:   {MAC} \\x1b[31mred\\x1b[0m\\r\\n"


def test_a_line_is_cut_by_what_is_seen_of_it() -> None:
    assert cut_line(f"ab{RED}cdef{PLAIN}gh", 4) == f"ab{RED}cd{PLAIN}"
    assert cut_line("abc", 4) == "abc"
