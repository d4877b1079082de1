"""Content keys of the lab's modules, the page of their passes, and what is written to it."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.build.mirrors import names_of_releases
from lab.build.parts import Releases
from rocks.core.errors import ToolError
from tests.lab.passes import __main__ as passes
from tests.lab.passes import keys, page, recorder
from tests.lab.passes.__main__ import CORE
from tests.lab.passes.page import Pass
from tests.lab.passes.processors import Ticks, read_ticks, share
from tests.lab.passes.recorder import Recorder

MODULE = "test_lease.py"
ROW = Pass("0123456789ab", "cce79b11", "2026-11-24", "2 of 3", 61)


def test_every_module_declares_what_it_depends_on() -> None:
    """In its constant SUBJECTS, which is not empty; each subject, helpers' included, is there."""
    declared = {name: keys.subjects_of(keys.FOLDER / name) for name in keys.modules()}
    assert [name for name, subjects in declared.items() if not subjects] == []
    files = [*keys.FOLDER.glob("*.py"), *keys.FOLDER.glob("long/*.py")]
    missing = [
        (path.name, subject)
        for path in files
        for subject in keys.subjects_of(path) or ()
        if not keys.files_of_subject(subject)
    ]
    assert len(declared) >= 30 and missing == []


@pytest.fixture(autouse=True)
def machines(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Say of which releases the lab's machines are, or that they were built from ISOs; of the oldest one without."""

    def are(releases: Releases, of_isos: bool = False) -> None:
        monkeypatch.setattr(recorder, "releases_there", lambda: releases)
        monkeypatch.setattr(recorder, "is_of_isos", lambda: of_isos)

    oldest = names_of_releases()[0]
    are(Releases(oldest, oldest))
    return are


@pytest.mark.slow
def test_a_key_is_of_what_a_module_imports_declares_and_commands() -> None:
    """The module, helpers, commands, what the machines run with its imports, what every machine has; and no more."""
    files = {str(path.relative_to(keys.CHECKOUT)) for path in keys.files_of(MODULE)}
    assert files >= {
        f"tests/lab/{MODULE}",
        "tests/lab/conftest.py",
        "tests/lab/lab_site.py",
        "lab/machines/sample_cluster.py",
        "src/rocks/commands/start/host/vm/__init__.py",
        "src/rocks/commands/add/cluster/__init__.py",  # by lab/machines/sample_cluster.py
        "src/rocks/machine/start.py",
        "src/rocks/machine/host/operations.py",
        "src/rocks/__init__.py",
        "lab/instruments/counting_guest.S",
        "nodes/base.xml",
    }
    assert sorted(name for name in files if "/fake" in name) == []
    others = ("src/nucleus/", "src/comet/", "tests/unit/", "src/rocks/commands/create/")
    assert sorted(name for name in files if name.startswith(others)) == []


@pytest.mark.slow
def test_a_command_in_one_text_is_of_the_key() -> None:
    """As tests/lab/network_site.py has them."""
    files = {str(path.relative_to(keys.CHECKOUT)) for path in keys.files_of("test_isolation.py")}
    assert {f"src/rocks/commands/{name}/__init__.py" for name in ("set/host/boot", "add/cluster")} <= files


def test_a_key_changes_with_each_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With its content, and with its name."""
    monkeypatch.setattr(keys, "CHECKOUT", tmp_path)
    monkeypatch.setattr(keys, "files_of", lambda module: sorted(tmp_path.iterdir()))
    (tmp_path / "a.py").write_text("1")
    first = keys.content_key(MODULE)
    assert keys.content_key(MODULE) == first
    (tmp_path / "a.py").write_text("2")
    second = keys.content_key(MODULE)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, keys.content_key(MODULE)}) == 3


def test_rows_of_other_modules_stay(tmp_path: Path) -> None:
    """Sorted by module; a failure removes the pass with its key alone."""
    path = tmp_path / "passes.md"
    assert page.read(path) == {}
    page.record("test_b.py", ROW, path)
    page.record("long/test_a.py", ROW._replace(seconds=5), path)
    page.record("test_b.py", ROW._replace(key="ba9876543210"), path)
    assert [*page.read(path)] == ["long/test_a.py", "test_b.py"]
    assert page.read(path)["test_b.py"] == ROW._replace(key="ba9876543210")
    page.remove("test_b.py", ROW.key, path)
    assert page.stale({"test_b.py": "ba9876543210", "long/test_a.py": "other", "test_c.py": "x"}, path) == [
        "long/test_a.py",
        "test_c.py",
    ]
    page.remove("test_b.py", "ba9876543210", path)
    assert page.read(path) == {"long/test_a.py": ROW._replace(seconds=5)}
    assert path.stat().st_mode & 0o777 == 0o644


def _play(
    passes: Path,
    outcomes: dict[str, str],
    *,
    arguments: tuple[str, ...] = (),
    option: str = "",
    number: int = 9,
) -> list[str]:
    """A run of cases of the module, by name, as far as the first `number` of them; returns the lines of its table."""
    made = Recorder(_config(arguments, option), passes)
    items = [SimpleNamespace(nodeid=f"tests/lab/{MODULE}::{name}") for name in outcomes]
    foreign = SimpleNamespace(nodeid="tests/unit/test_tests.py::test_factor")
    made.pytest_collection_finish(cast("pytest.Session", SimpleNamespace(items=[foreign, *items])))
    made.pytest_runtest_logstart(foreign.nodeid)
    made.pytest_runtest_logfinish(foreign.nodeid)
    for item in items[:number]:
        made.pytest_runtest_logstart(item.nodeid)
        for outcome in ("passed", outcomes[item.nodeid.rpartition("::")[2]], "passed"):
            report = SimpleNamespace(nodeid=item.nodeid, outcome=outcome)
            made.pytest_runtest_logreport(cast("pytest.TestReport", report))
        made.pytest_runtest_logfinish(item.nodeid)
    return made._lines


def _config(arguments: tuple[str, ...] = (), option: str = "") -> pytest.Config:
    getoption = lambda name, default: name == option  # noqa: E731
    return cast("pytest.Config", SimpleNamespace(args=arguments, getoption=getoption))


def test_a_module_that_passed_whole_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its key and how many cases passed; not before its last test, and not when a file has changed meanwhile."""
    path = tmp_path / "passes.md"
    monkeypatch.setattr(recorder, "content_key", lambda module: "k1")
    _play(path, {"a": "passed", "b": "passed"}, number=1)
    assert page.read(path) == {}
    _play(path, {"a": "passed", "b": "passed"})
    assert (page.read(path)[MODULE].key, page.read(path)[MODULE].cases) == ("k1", "2")
    _play(path, {"a": "passed", "b": "skipped"})
    assert page.read(path)[MODULE].cases == "1 of 2"
    changing = iter(("k2", "k3"))
    monkeypatch.setattr(recorder, "content_key", lambda module: next(changing))
    _play(path, {"a": "passed"})
    assert page.read(path)[MODULE].key == "k1"


def test_the_row_names_machines_of_another_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machines: Callable[..., None]
) -> None:
    """And those of ISOs; a failure there removes no other row."""
    path = tmp_path / "passes.md"
    monkeypatch.setattr(recorder, "content_key", lambda module: "k1")
    _play(path, {"a": "passed"})
    machines(Releases("bookworm", "trixie"))
    _play(path, {"a": "passed"})
    machines(Releases("bookworm", "bookworm"), of_isos=True)
    _play(path, {"a": "passed"})
    mixed, of_isos = f"{MODULE} (hosts bookworm, NAS trixie)", f"{MODULE} (machines of ISOs)"
    assert set(page.read(path)) == {MODULE, mixed, of_isos}
    assert page.stale({MODULE: "k1"}, path) == []
    _play(path, {"a": "failed"})
    assert set(page.read(path)) == {MODULE, mixed}


@pytest.mark.parametrize(
    ("outcomes", "arguments", "option"),
    [
        ({"a": "skipped"}, (), ""),
        ({"a": "passed"}, (f"tests/lab/{MODULE}::a",), ""),
        ({"a": "passed"}, (f"{MODULE}::a",), ""),
        ({"a": "passed"}, ("tests/lab",), "lf"),
        ({"a": "passed"}, ("tests/lab",), "setupplan"),
    ],
)
def test_a_part_of_a_module_is_no_pass(
    outcomes: dict[str, str],
    arguments: tuple[str, ...],
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing passed; one test was chosen, also in its folder; `--lf`, which reports none as left out; no test was run.

    What was recorded stays.
    """
    path = tmp_path / "passes.md"
    monkeypatch.setattr(recorder, "content_key", lambda module: "k1")
    page.record(MODULE, ROW, path)
    _play(path, outcomes, arguments=arguments, option=option)
    assert page.read(path) == {MODULE: ROW}


BAD_ROWS = (b"| a | b |", b"| a | k | c | d | 1 | many |", b"\xff")


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_page_that_was_damaged(row: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in words and stays as it is; a run goes on, and says what it does not record."""
    path = tmp_path / "passes.md"
    monkeypatch.setattr(recorder, "content_key", lambda module: "k1")
    page.record(MODULE, ROW, path)
    damaged = path.read_bytes() + row + b"\n"
    path.write_bytes(damaged)
    with pytest.raises(ToolError, match=re.escape(str(path))):
        page.stale({MODULE: "k1"}, path)
    for outcome in ("passed", "failed"):
        lines = _play(path, {"a": outcome})
        assert [line for line in lines if line.startswith(f"not recorded: {MODULE}: ")], lines
    assert path.read_bytes() == damaged


def test_two_writers_of_the_page(tmp_path: Path) -> None:
    """The rows of both stay."""
    path = tmp_path / "passes.md"
    names = [f"test_{number}.py" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: page.record(name, ROW, path), names))
    assert sorted(page.read(path)) == sorted(names)


def test_a_failure_removes_the_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came after it, or did not: `-x`."""
    path = tmp_path / "passes.md"
    monkeypatch.setattr(recorder, "content_key", lambda module: ROW.key)
    page.record(MODULE, ROW, path)
    _play(path, {"a": "failed", "b": "passed"})
    assert page.read(path) == {}
    page.record(MODULE, ROW, path)
    _play(path, {"a": "failed", "b": "passed"}, number=1)
    assert page.read(path) == {}


def test_tests_that_are_left_out_make_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `-k`, or a marker."""
    made = Recorder(_config(), tmp_path / "passes.md")
    left_out = SimpleNamespace(nodeid=f"tests/lab/{MODULE}::a")
    made.pytest_deselected([cast("pytest.Item", left_out)])
    assert made._partial == {MODULE}


def test_ci_runs_the_core_and_what_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As arguments of pytest, each once, without the long ones; `stale` lists those, too, and they are no failure."""
    assert set(CORE) <= set(keys.modules())
    monkeypatch.setattr(passes, "content_key", lambda module: "k1")
    monkeypatch.setattr(page, "stale", lambda found: ["long/test_a.py", CORE[0], "test_b.py"])
    assert passes.main(["due"]) == 0
    assert capsys.readouterr().out.split() == [f"tests/lab/{name}" for name in (*CORE, "test_b.py")]
    assert passes.main(["stale"]) == 1
    assert capsys.readouterr().out.split() == ["long/test_a.py", CORE[0], "test_b.py"]
    monkeypatch.setattr(page, "stale", lambda found: ["long/test_a.py"])
    assert passes.main(["stale"]) == 0
    assert capsys.readouterr().out.split() == ["long/test_a.py"]
    monkeypatch.setattr(page, "stale", lambda found: [])
    assert (passes.main(["stale"]), capsys.readouterr().out) == (0, "")
    assert passes.main([]) == 2


def test_share_of_the_processors(tmp_path: Path) -> None:
    """Used is what is not idle, waiting for a disk, or given to others."""
    counters = tmp_path / "stat"
    counters.write_text("cpu  10 20 30 40 50 6 7 8 9 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    assert read_ticks(counters) == Ticks(busy=73, all=171)
    assert share(Ticks(73, 171), Ticks(123, 271)) == 0.5
    assert share(Ticks(1, 1), Ticks(1, 1)) == 0
