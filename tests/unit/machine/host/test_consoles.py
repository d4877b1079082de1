"""The logs of serial consoles: a start begins a new one, and other machines keep theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocks.machine.host import consoles


def test_a_start_removes_the_lines_of_earlier_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consoles, "CONSOLE_LOG_FOLDER", str(tmp_path))
    log = tmp_path / "one.console.log"
    others = [tmp_path / "two.console.log", tmp_path / "two.console.log.0"]
    for path in (log, Path(f"{log}.0"), Path(f"{log}.2"), *others):
        path.write_text("earlier\n")
    consoles.begin_log("vc1", str(log))
    named = tmp_path / "vc1.console.log"
    assert sorted(tmp_path.iterdir()) == [*others, named] and str(named.readlink()) == log.name
    log.write_text("now\n")
    consoles.name_log("vc1", str(log))
    assert log.read_text() == "now\n", "a machine that arrives keeps what it has written"
    plain = tmp_path / "vc2.console.log"
    plain.write_text("of somebody\n")
    consoles.name_log("vc2", str(log))
    assert plain.read_text() == "of somebody\n" and not plain.is_symlink()


def test_nothing_outside_the_folder_is_removed(tmp_path: Path) -> None:
    file = tmp_path / "one.console.log"
    file.write_text("of somebody\n")
    consoles.begin_log("vc1", str(file))
    assert file.read_text() == "of somebody\n"
