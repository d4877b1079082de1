"""Tables with their exact alignment, for a terminal, and as JSON."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rocks.commands._framework.base import Command
from rocks.commands._framework.tables import LINES_AT_ONCE, table_parts
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
from rocks.commands._shared.storage import print_listing
from rocks.core.check_lines import MISSING, OK, WRONG
from rocks.core.errors import HostError, RocksError, StateError, UserError
from rocks.database.connection import Database
from rocks.install.installation.states import State
from rocks.site.overview_rules import SILENT, UP
from rocks.storage.image.states import BLOCKED

VM_HEADER = ("vm-host", "slice", "mem", "cpus", "mac", "host", "virt-type")


class ListHostVm(Command):
    """Stands where `rocks list host vm` does."""

    __module__ = "rocks.commands.list.host.vm"


def table(
    rows: Sequence[tuple[object, object]],
    header: Sequence[str] | None,
    *,
    parameters: str = "",
    **options: Any,
) -> str:
    """What a command prints for rows of (owner, cells)."""
    command = ListHostVm(cast("Database", None))
    command.useArguments(dict(text.split("=", 1) for text in parameters.split()), [])
    command.beginOutput()
    for owner, cells in rows:
        command.addOutput(owner, cells)
    command.endOutput(header=header, **options)
    return command.getText()


ONE_MACHINE = [
    ("web-a", (0, 2048, 1, "76:77:6e:80:00:00", "vmc-0-0", "hvm")),
    ("web-a", ("", "", "", "76:77:6e:80:00:01", None, "")),
]


def test_one_owner_is_left_out_with_its_header() -> None:
    assert table(ONE_MACHINE, VM_HEADER) == (
        "SLICE MEM  CPUS MAC               HOST    VIRT-TYPE\n"
        "0     2048 1    76:77:6e:80:00:00 vmc-0-0 hvm      \n"
        "----- ---- ---- 76:77:6e:80:00:01 ------- ---------\n"
    )


def test_columns_of_a_table_that_is_made_in_parts_have_one_width() -> None:
    count = LINES_AT_ONCE + 2
    rows = [(f"host-{number}", ("x" * (30 if number == count - 1 else 1), 1)) for number in range(count)]
    lines = table(rows, ("host", "text", "number")).splitlines()
    assert len(lines) == count + 1
    assert {len(line) for line in lines} == {len(f"host-{count}: {'x' * 30} NUMBER")}
    assert lines[1] == f"{'host-0:':{len(f'host-{count}:')}} x{' ' * 29} 1     "
    printed = table(rows, ("host", "text", "number"), parameters="output-header=no")
    assert printed.splitlines() == lines[1:]


@pytest.mark.parametrize(
    ("count", "header", "pad", "parameters"),
    [
        (LINES_AT_ONCE + 2, ("host", "text", "number"), "-", ""),
        (LINES_AT_ONCE + 2, ("host", "text", "number"), "-", "output-header=no output-col=text,number"),
        (LINES_AT_ONCE + 2, (), "", ""),
        (2, ("host", "text", "number"), "-", "json=yes"),
        (0, ("host", "text", "number"), "-", ""),
        (0, (), "", ""),
    ],
)
def test_rows_that_are_made_one_by_one_are_printed_as_others(
    capsys: pytest.CaptureFixture[str], count: int, header: tuple[str, ...], pad: str, parameters: str
) -> None:
    rows = [(f"host-{n}", "x\ny" * (n % 7), str(n)) for n in range(count)]
    command = ListHostVm(cast("Database", None))
    command.useArguments(dict(text.split("=", 1) for text in parameters.split()), [], stream=True)
    command.showRows(header, lambda: iter(rows), pad)
    expected = table(
        [(owner, cells) for owner, *cells in rows],
        header,
        parameters=parameters,
        padChar=pad,
        trimOwner=False,
    )
    assert capsys.readouterr().out + command.getText() == expected


def test_a_list_of_image_storage_names_its_hosts_when_rows_of_several_are_printed() -> None:
    """As every table: not whether several were asked."""
    header, rows = ("nas", "attr", "value"), [("frequency", "300")]
    for listed, printed in (
        ({"nas-0-0": rows}, "ATTR      VALUE\nfrequency 300  \n"),
        ({"nas-0-0": rows, "nas-0-1": []}, "ATTR      VALUE\nfrequency 300  \n"),
        (
            {"nas-0-0": rows, "nas-0-1": rows},
            "NAS      ATTR      VALUE\nnas-0-0: frequency 300  \nnas-0-1: frequency 300  \n",
        ),
    ):
        command = ListHostVm(cast("Database", None))
        print_listing(command, header, listed, {})
        assert command.getText() == printed


def test_a_blank_cell_is_blank_and_an_empty_one_is_dashes() -> None:
    rows = [
        ("fe-a", (3, "", "-----BEGIN PUBLIC KEY-----")),
        ("", (" ", " ", "MIGf…")),
        ("", (" ", " ", "-----END PUBLIC KEY-----")),
        ("", (" ", " ", "")),
    ]
    assert table(rows, ("host", "id", "description", "public key"), trimOwner=0) == (
        "HOST  ID DESCRIPTION PUBLIC KEY                \n"
        "fe-a: 3  ----------- -----BEGIN PUBLIC KEY-----\n"
        ":                    MIGf…                     \n"
        ":                    -----END PUBLIC KEY-----  \n"
        ":                    --------------------------\n"
    )


@pytest.mark.parametrize(
    ("rows", "header", "parameters", "options", "printed"),
    [
        (
            [("a", 1), ("b", "two")],
            ("attr", "value"),
            "",
            {"trimOwner": 0},
            "ATTR VALUE\na:   1    \nb:   two  \n",
        ),
        (
            ONE_MACHINE[:1],
            VM_HEADER,
            "output-header=no",
            {},
            "0     2048 1    76:77:6e:80:00:00 vmc-0-0 hvm      \n",
        ),
        (
            ONE_MACHINE,
            VM_HEADER,
            "output-col=mac,SLICE output-header=no",
            {},
            "0     76:77:6e:80:00:00\n----- 76:77:6e:80:00:01\n",
        ),
        (ONE_MACHINE[:1], VM_HEADER, "output-col=vm-host", {}, "VM-HOST\nweb-a: \n"),
        ([("web-a", ("a  line", None)), ("web-a", ("", "x"))], None, "", {"padChar": ""}, "a  line \n x\n"),
        ([("a", "x"), ("b", "y")], None, "", {"padChar": ""}, "a: x\nb: y\n"),
        ([("a", "x")], None, "output-col=attr", {"padChar": ""}, "x\n"),
        (
            [("a", "x\ny"), ("b", "z")],
            None,
            "",
            {"padChar": "", "linesep": "\r\n"},
            "a: x\ny\r\nb: z\r\n",
        ),
    ],
    ids=[
        *("a scalar is a row of one cell", "without header", "chosen columns in the table's order"),
        *("a chosen owner is not left out", "a report has raw cells", "a report of two"),
        *("columns of a report cannot be chosen", "another end of line"),
    ],
)
def test_parts_of_tables_and_reports(
    rows: list[tuple[object, object]],
    header: tuple[str, ...] | None,
    parameters: str,
    options: dict[str, Any],
    printed: str,
) -> None:
    assert table(rows, header, parameters=parameters, **options) == printed


def test_no_rows_print_nothing_but_an_empty_array_as_json() -> None:
    assert table([], VM_HEADER) == ""
    assert json.loads(table([], VM_HEADER, parameters="json=yes")) == []


def test_a_column_that_is_none_is_an_error_that_names_those_that_are() -> None:
    with pytest.raises(UserError, match='there is no column "memory", only vm-host, slice, mem'):
        table(ONE_MACHINE, VM_HEADER, parameters="output-col=mac,memory")


def test_a_row_may_be_shorter_than_the_header() -> None:
    assert table([("a", ("x",))], ("h", "one", "two"), parameters="output-header=no") == "x  \n"
    assert table([("a", ("x",))], ("h", "one", "two")) == "ONE TWO\nx  \n"


@pytest.mark.parametrize(
    ("rows", "header", "parameters", "expected"),
    [
        (
            [("a", (1, None)), ("a", (2, True)), ("b", (3, "x")), ("a", (4, "y"))],
            ("vm-host", "slice", "host"),
            "json=true",
            [
                {"vm-host": "a", "vm": [{"slice": 1, "host": None}, {"slice": 2, "host": True}]},
                {"vm-host": "b", "vm": [{"slice": 3, "host": "x"}]},
                {"vm-host": "a", "vm": [{"slice": 4, "host": "y"}]},
            ],
        ),
        ([("a", 1)], ("vm", "slice"), "json=y", [{"vm": "a", "host": [{"slice": 1}]}]),
        (ONE_MACHINE[:1], VM_HEADER, "json=y output-col=mem", [{"vm-host": "web-a", "vm": [{"mem": 2048}]}]),
        (
            [("a", "x:1"), ("a", "y:2")],
            None,
            "json=1",
            [{"owner": "a", "vm": [{"text": "x:1"}, {"text": "y:2"}]}],
        ),
    ],
    ids=["runs of one owner", "the owner's header is the last word", "chosen columns", "a report"],
)
def test_json(
    rows: list[tuple[object, object]], header: tuple[str, ...] | None, parameters: str, expected: object
) -> None:
    printed = table(rows, header, parameters=parameters, padChar="-" if header else "")
    assert json.loads(printed) == expected
    assert printed == json.dumps(expected, indent=4) + "\n"


cells = st.one_of(st.none(), st.integers(), st.text(alphabet="abc -é", max_size=12))


@given(
    st.lists(st.tuples(st.text(alphabet="ab", min_size=1, max_size=5), st.tuples(cells, cells)), min_size=1)
)
def test_every_line_of_a_table_is_as_long_as_every_other(rows: list[tuple[object, object]]) -> None:
    lines = table(rows, ("host", "one", "two"), trimOwner=0).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("failures", "tried", "status"),
    [({}, 3, 0), ({"a": StateError("x")}, 2, 3), ({"a": HostError("x"), "b": StateError("y")}, 2, 1)],
)
def test_what_failed_decides_the_exit_status(
    failures: dict[str, RocksError], tried: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ListHostVm(cast("Database", None))
    command.endOutcomes(failures, tried)
    assert command.exit_status == status
    assert capsys.readouterr().err.splitlines() == [f"Error: {n}: {e}" for n, e in failures.items()]


def test_the_only_one_that_was_tried_fails_as_if_it_were_the_command() -> None:
    with pytest.raises(HostError, match="away"):
        ListHostVm(cast("Database", None)).endOutcomes({"a": HostError("away")}, 1)


def test_a_failure_names_its_object_once(capsys: pytest.CaptureFixture[str]) -> None:
    failures = {
        "a": StateError("a is paused"),
        "b": StateError("the host is full"),
        "c": HostError("c: away"),
    }
    ListHostVm(cast("Database", None)).endOutcomes(failures, 3)
    printed = capsys.readouterr().err.splitlines()
    assert printed == ["Error: a is paused", "Error: b: the host is full", "Error: c: away"]


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
