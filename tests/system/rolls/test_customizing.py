"""The guide about customizing: its files are written and its commands typed, in their order, as printed."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rocks.core.process import run
from rocks.install import graph_files
from tests.system.commands.conftest import Site, silent_hosts, vm_site

__all__ = ["silent_hosts", "vm_site"]  # fixtures

CHECKOUT = Path(__file__).resolve().parents[3]
GUIDE = (CHECKOUT / "docs/guide/customizing.md").read_text("utf-8")

_BLOCK = re.compile(r"^```(xml)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATH = re.compile(r"`(/etc/rocks/site-(?:nodes|graphs)/[^`]+\.xml)`")


class Step(NamedTuple):
    """A file to write, or a command to type; and the file's text or what is printed."""

    path: str
    command: str
    text: str


def steps() -> list[Step]:
    """All blocks of the page. The file of a block is the last one that the page has named before it."""
    found = []
    for block in _BLOCK.finditer(GUIDE):
        if block[1]:
            found.append(Step(_PATH.findall(GUIDE[: block.start()])[-1], "", block[2]))
            continue
        for piece in re.split(r"^# ", block[2], flags=re.MULTILINE)[1:]:
            command, _, printed = piece.partition("\n")
            found.append(Step("", command, printed))
    return found


PLACES = {"/etc/rocks": "guide-etcs", "/root": "roots", "/opt/rocks/share/rocks": "our-rocks-share-folder"}
"""Folders of the page, and those below the test's folder; they are as long, so that tables have the same columns."""


class Frontend:
    """A frontend whose folders are below the current folder."""

    def __init__(self, site: Site) -> None:
        self.site = site

    def write(self, path: str, text: str) -> None:
        """Write a file of the page."""
        Path(self._here(path)).write_text(text)

    def typed(self, command: str) -> str:
        """What a command prints on both streams, with the page's paths."""
        typed_part, how, rest = re.fullmatch(r"([^|>]*?)(?: ([|>]) (.*))?", command).groups()  # type: ignore[union-attr]
        if not typed_part.startswith("rocks "):
            return self._there(self._bash(self._here(command)))
        arguments = self._bash(f"printf '%s\\n' {self._here(typed_part)}").splitlines()[1:]
        ended = self.site.rocks(*arguments)
        output = ended.out
        if how:
            output = self._bash(self._here(rest if how == "|" else f"cat > {rest}"), output)
        return self._there(output + ended.err)

    def _bash(self, text: str, standard_input: str = "") -> str:
        done = run(["bash", "-c", text], deadline_seconds=60, standard_input=standard_input.encode())
        return done.text + done.error_text

    def _here(self, text: str) -> str:
        for place, path in PLACES.items():
            text = re.sub(rf"(?<![\w/]){place}(?=[/\s]|$)", path, text)
        return text

    def _there(self, text: str) -> str:
        for place, path in PLACES.items():
            text = text.replace(path, place)
        return text


@pytest.fixture
def frontend(roll_site: Site, vm_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frontend:
    """A frontend with a compute and with empty folders for the site's files."""
    monkeypatch.chdir(tmp_path)
    etc, root, ours = map(Path, PLACES.values())
    (etc / "site-nodes").mkdir(parents=True)
    (etc / "site-graphs/default").mkdir(parents=True)
    root.mkdir()
    ours.symlink_to(CHECKOUT)
    monkeypatch.setattr(graph_files, "SITE_NODES", etc / "site-nodes")
    monkeypatch.setattr(graph_files, "SITE_GRAPHS", etc / "site-graphs")
    monkeypatch.setattr(graph_files, "own_folders", lambda: [ours])
    vm_site.done("add", "host", "compute-0-0")
    vm_site.done("add", "host", "interface", "compute-0-0", "eth0", "ip=10.1.255.250", "subnet=private")
    return Frontend(vm_site)


def test_the_page_prints_what_it_shows(frontend: Frontend) -> None:
    typed = 0
    for step in steps():
        if step.path:
            frontend.write(step.path, step.text)
        else:
            assert frontend.typed(step.command) == step.text, step.command
            typed += 1
    assert typed > 30
