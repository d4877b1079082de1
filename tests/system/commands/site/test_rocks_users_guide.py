"""The day of an operator who knows Rocks: the blocks of docs/guide/rocks-users.md, as printed."""

import re
import shlex
from pathlib import Path

import pytest

from rocks.core.process import run
from tests.rocks_dump import rocks_dump, unusual
from tests.system.commands.conftest import Site
from tests.system.commands.site.test_load_dump import frontend

__all__ = ["frontend"]

PAGE = Path(__file__).resolve().parents[4] / "docs/guide/rocks-users.md"
BLOCK = re.compile(r"```\n(# .*?)```", re.DOTALL)
CHANGING = re.compile(r"\d{8}T\d{6}|\d{4}-\d\d-\d\dT[\d:+]+")
"""Moments, in names of copies and in messages."""


def commands_of(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("# ")]


def printed(site: Site, line: str, folder: str) -> str:
    """What a typed line prints, in the machine of the page."""
    typed, _, pipe = line.partition(" | ")
    ended = site.rocks(*shlex.split(typed.replace("/root/", f"{folder}/"))[1:])
    text = ended.out + ended.err
    if pipe:
        text = run(shlex.split(pipe), deadline_seconds=60, standard_input=text.encode()).text
    return CHANGING.sub(
        "…", text.replace(f"{folder}/", "/root/").replace("/root/backup", "/var/lib/rocks/backup")
    )


def test_the_page_prints_what_it_shows(
    frontend: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_hosts: None
) -> None:
    monkeypatch.setenv("ROCKS_SITE_FOLDER", str(tmp_path / "etc"))
    monkeypatch.setenv("ROCKS_BACKUP_FOLDER", str(tmp_path / "backup"))
    monkeypatch.setenv("ROCKS_LAUNCHER", "/opt/rocks/bin/rocks")
    (tmp_path / "etc").mkdir()
    other_rolls = unusual("/nowhere")[4:6]
    (tmp_path / "site.dump").write_text(rocks_dump(6, 2, 1) + "\n".join(other_rolls) + "\n")
    (tmp_path / "passphrase").write_text("not to be guessed easily\n")
    (tmp_path / "passphrase").chmod(0o600)

    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    assert len(blocks) == 5
    for block in blocks:
        lines = (f"# {line}\n{printed(frontend, line, str(tmp_path))}" for line in commands_of(block))
        assert "".join(lines) == block
