"""What `make mutants` changes, chooses and prints."""

import ast
import hashlib
from itertools import islice
from pathlib import Path

import coverage
import pytest

from bench.mutants import __main__ as mutants
from bench.mutants import covered as covering
from bench.mutants.changes import changes
from bench.mutants.covered import Covered
from rocks.core.errors import ToolError

CODE = '''"""A docstring."""
from os import path
if TYPE_CHECKING:
    limit = 1

def larger(numbers: "list") -> bool:
    """Another."""
    if len(numbers) > 2:
        return path(
            1,
        )
    raise ValueError("no" + "thing")
'''


def test_a_change_replaces_one_node_and_is_code() -> None:
    """Annotations, imports, documentation, errors' texts and what only type checkers read stay."""
    found = changes(CODE)
    assert {change.line for change in found} == {8, 9, 10}
    assert all(ast.parse(change.code()) and change.code() != CODE for change in found)
    assert "    if len(numbers) >= 2:\n" in {line for one in found for line in one.code().splitlines(True)}


def test_a_statement_of_several_lines_is_one() -> None:
    """Python has an event for its first line only."""
    assert {change.lines for change in changes(CODE) if change.line == 10} == {range(9, 11)}


def test_the_choice_depends_on_the_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same seed gives the same mutants; other files than the sources are left alone."""
    (tmp_path / "src" / "rocks").mkdir(parents=True)
    (tmp_path / "src" / "rocks" / "sizes.py").write_text("\n".join(f"a{i} = {i}" for i in range(20)))
    monkeypatch.setattr(mutants, "CHECKOUT", tmp_path)
    monkeypatch.setattr(
        mutants, "files", lambda: ["src/rocks/sizes.py", "tests/test_sizes.py", "src/rocks/x.sql"]
    )

    def chosen(seed: int) -> list[tuple[int, str]]:
        return [(change.line, change.after) for _, change in islice(mutants.choose(seed), 8)]

    assert chosen(1) == chosen(1) != chosen(2)
    assert len({line for line, _ in chosen(1)}) == 8


STORAGE = "tests/unit/storage/image/test_states.py::test_a"


def test_the_tests_of_a_line(tmp_path: Path) -> None:
    """Those that ran it in their own process or in a program, without those that do not pass unchanged."""
    lines = coverage.CoverageData(str(tmp_path / "lines"))
    for context, line in (("t.py::a[x (y)]", 3), ("t.py::b (call)", 3), ("t.py::c", 4), ("t.py::failed", 3)):
        lines.set_context(context)
        lines.add_lines({str(tmp_path / "copy/src/rocks/core/values.py"): [line]})
    seconds = {"t.py::a[x (y)]": 1.0, "t.py::b": 2.0, "t.py::c": 3.0, STORAGE: 4.0}
    covered = Covered(lines, tmp_path, seconds)
    assert covered.tests_of("src/rocks/core/values.py", range(2, 4)) == {
        "t.py::a[x (y)]": 1.0,
        "t.py::b": 2.0,
    }
    constant = covered.tests_of("src/rocks/core/values.py", range(9, 10), is_imported=True)
    assert constant == {"t.py::a[x (y)]": 1.0, "t.py::b": 2.0, "t.py::c": 3.0}
    assert covered.tests_of("src/rocks/storage/image/table/moves.py", range(2, 4), True) == {STORAGE: 4.0}
    assert covered.tests_of("src/rocks/other.py", range(2, 4)) == {}


@pytest.mark.parametrize(
    ("number", "seed", "word"), [("0", "1", "N"), ("-1", "1", "N"), ("abc", "1", "N"), ("1", "", "SEED")]
)
def test_wrong_numbers_are_refused_first(
    number: str, seed: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the tests run, which takes hours."""
    monkeypatch.setattr(mutants, "measure", lambda *_: pytest.fail("it began"))
    assert mutants.main(number, seed, "slow") == 1
    assert capsys.readouterr().err.startswith(f"Error: {word} is ")


def test_without_a_test_that_passes_there_is_no_share(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would be 0, whatever the tests find."""
    monkeypatch.setattr(covering, "STATE", tmp_path)
    monkeypatch.setattr(covering, "files", lambda: [])
    folder = tmp_path / hashlib.sha256(b"none").hexdigest()[:16]
    folder.mkdir()
    (folder / "outcomes.json").write_text('{"t.py::a": ["failed", 1.0]}')
    lines = coverage.CoverageData(str(folder / "lines"))
    lines.add_lines({"a.py": [1]})
    lines.write()
    with pytest.raises(ToolError, match="no test passed"):
        covering.cover("none")


def test_the_page_lists_what_was_not_found() -> None:
    """With the share of each folder."""
    change = changes("a = b | 1\n")[0]
    results = [mutants.Result("src/rocks/trust/a.py", change, 2, "FAILED t.py::a")]
    results += [mutants.Result("src/rocks/trust/b.py", change, 0, "")]
    text = mutants.format_results("Today", results)
    assert "| rocks/trust | 2 | 1 (50 %) |" in text
    assert "| rocks/trust/b.py 1 | assignment: `a = b ¦ 1` → `a = None` | 0 |" in text
    assert "rocks/trust/a.py" not in text


def test_what_an_import_executes() -> None:
    found = {
        change.before: change.is_imported
        for change in changes("A = 1\n\n\ndef f():\n    return 2\n\n\nB = 3\n")
    }
    assert found["1"] and found["3"] and not found["2"]
