"""The lines of a dump are read as a shell reads them, and nothing is expanded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rocks.core.errors import UserError
from rocks.core.process import run
from rocks.site.dump_loading import lines
from rocks.site.dump_loading.lines import DumpLine, command_texts, read_lines
from tests.generated import examples
from tests.rocks_dump import quoted

TEXTS = st.text(st.sampled_from("ab1 \t\n'\"\\$`;&|<>()*?[~#=%!{}é"), min_size=1, max_size=12)


def words_of_sh(line: str) -> tuple[str, ...]:
    """The words as a POSIX shell hands them to a program."""
    done = run(["sh", "-c", f"printf '%s\\0' {line}"], deadline_seconds=60)
    assert done.exit_status == 0, done.error_text
    return tuple(done.text.split("\0")[:-1])


def in_double_quotes(text: str) -> str:
    return '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in text) + '"'


def in_single_quotes(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def after_backslashes(text: str) -> str:
    return "".join("'\n'" if c == "\n" else quoted(c) for c in text)


FORMS = st.sampled_from([in_double_quotes, in_single_quotes, after_backslashes])


@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.tuples(TEXTS, FORMS), min_size=1, max_size=8))
def test_quoted_words_are_those_of_a_shell(given_texts: list[tuple[str, object]]) -> None:
    line = " ".join(form(text) for text, form in given_texts)  # type: ignore[operator]
    (read,) = read_lines(line)
    assert read.fault == ""
    assert read.texts == words_of_sh(line) == tuple(text for text, _ in given_texts)


def test_comments_blank_lines_and_joined_lines() -> None:
    text = "# a comment; with 'a quote\n\nrocks a \\\n  b#c d~\n  # another\nrocks 'two\nlines'\nrocks e\n"
    assert list(read_lines(text)) == [
        DumpLine(3, ("rocks", "a", "b#c", "d~")),
        DumpLine(6, ("rocks", "two\nlines")),
        DumpLine(8, ("rocks", "e")),
    ]


@pytest.mark.parametrize(
    "tail",
    ["; rm -rf /", "$(id)", "`id`", '"$(id)"', '"`id`"', "$HOME", "| sh", "& id", ">/etc/passwd", "*", "~"],
)
def test_what_needs_a_shell_is_a_fault_of_its_line_alone(tail: str) -> None:
    first, second = read_lines(f"rocks add attr a {tail}\nrocks add attr b c\n")
    assert "needs a shell" in first.fault and second == DumpLine(2, ("rocks", "add", "attr", "b", "c"))
    with pytest.raises(UserError, match="needs a shell"):
        command_texts(first)


@pytest.mark.parametrize("text", ["rocks add attr a 'b\n", 'rocks x\nrocks "', "rocks a\\"])
def test_a_text_that_ends_inside_quotes_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="never closed"):
        list(read_lines(text))


def test_the_program_and_two_in_one() -> None:
    assert command_texts(DumpLine(1, ("/opt/rocks/bin/rocks", "add host", "vm"))) == ("add", "host", "vm")
    for texts in (("reboot",), ("rocks",), ("/bin/notrocks", "add"), ("rocks", " ")):
        with pytest.raises(UserError, match="no command of rocks"):
            command_texts(DumpLine(1, texts))


def test_lines_of_other_systems_end_alike() -> None:
    """A file that another program converted has CR in values, too; elsewhere a CR in a value stays."""
    text = "rocks add attr a 'b\nc'\n\n# note\nrocks add attr d \\\ne\n"
    assert list(read_lines(text.replace("\n", "\r\n"))) == list(read_lines(text))
    mixed = "rocks add attr a 'b\r\nc'\nrocks add attr d e\r\n"
    assert [line.texts[-1] for line in read_lines(mixed)] == ["b\r\nc", "e"]
    assert all(line.fault == "" for line in read_lines(mixed))


def test_a_word_of_many_pieces_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word so far was copied for each escaped character: 400,000 of them took 12 s."""
    copied = 0

    class Piece(str):
        def __radd__(self, before: str) -> str:
            nonlocal copied
            copied += len(before)
            return Piece("".join((before, self)))

    unquoted = lines._unquoted
    monkeypatch.setattr(lines, "_unquoted", lambda piece: Piece(unquoted(piece)))
    (line,) = read_lines("rocks add attr a " + "\\b" * 1000)
    assert line.texts[-1] == "b" * 1000 and copied == 0


def test_the_line_of_a_frontend_is_that_of_a_host() -> None:
    """`rocks dump` has it for an empty database; no other line may begin so."""
    unless = r"/a\ b/rocks list host head >/dev/null 2>&1 || "
    added = r'/a\ b/rocks "add host" head cpus=1'
    assert list(read_lines(f"\n{unless}{added}\n")) == [
        DumpLine(2, ("/a b/rocks", "add host", "head", "cpus=1"))
    ]
    for line in (
        f"{unless}/bin/sh -c id",
        f"x; {unless}{added}",
        f"{unless}{added}; id",
        f"{unless}{unless}{added}",
    ):
        (read,) = read_lines(line)
        assert "needs a shell" in read.fault
