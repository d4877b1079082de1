"""Command trees of tests: folders with commands and plugins, as another roll would install them."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent

import pytest

from rocks.commands._framework.tree import OUR_TREE, PACKAGE

WriteCommand = Callable[..., Path]
TAKES = "    <arg optional='1' name='host' repeat='1'>Hosts.</arg>\n    <param name='a'>A.</param>\n"
TAKEN = "[host] ... [a=string]"

"""The usage of each command that `write_command` writes."""
SHOW = "self.addText(f'{self.command_path} {args} {sorted(params.items())}')"
"""A body that prints what the command has got."""
GROUP = '"""Commands of a test."""\n'


@contextlib.contextmanager
def forgotten_commands(begin: str = f"{PACKAGE}.") -> Iterator[None]:
    """Commands of other trees that are imported in the block, by names that begin so, are forgotten afterwards."""
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith(begin) and not name.startswith(f"{PACKAGE}._"):  # what others hold must stay
            del sys.modules[name]
    sys.modules[PACKAGE].__path__ = [OUR_TREE]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of another tree, which `ROCKS_TREES` names; what was imported of it is forgotten afterwards."""
    folder = tmp_path / "tree"
    folder.mkdir()
    monkeypatch.setenv("ROCKS_TREES", str(folder))
    with forgotten_commands():
        yield folder


@pytest.fixture
def write_command(tree: Path) -> WriteCommand:
    """`write_command("add/widget", body)`: a command whose `run` has this body; without one, a group."""

    def write(place: str, body: str = "", must_be_root: int = 0) -> Path:
        folder = tree / place
        write_command_file(folder, body, must_be_root)
        return folder

    return write


def write_command_file(folder: Path, body: str, must_be_root: int = 0) -> None:
    """Write the `__init__.py` of a command's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    text = (
        f'import rocks.commands\n\n\nclass Command(rocks.commands.Command):\n    """Do it.\n\n{TAKES}    """\n\n'
        f"    MustBeRoot = {must_be_root}\n\n    def run(self, params, args):\n{indented}"
    )
    (folder / "__init__.py").write_text(text if body else GROUP)
    importlib.invalidate_caches()


def write_hook(tree: Path, command: str, name: str, methods: str) -> Path:
    """A plugin of the command (`remove/host`) with these methods; its file."""
    file = tree / command / f"plugin_{name}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    head = "import rocks.commands\nfrom rocks.core.errors import StateError\n\nclass Plugin(rocks.commands.Plugin):\n"
    file.write_text(head + indent(methods, "    "))
    return file


def write_plugin(folder: Path, name: str, requests: str = "", run: str = "", before: str = "") -> None:
    """A plugin that prints its name and its argument."""
    (folder / f"plugin_{name}.py").write_text(
        f"{before}import rocks.commands\n\n\nclass Plugin(rocks.commands.Plugin):\n    {requests or 'pass'}\n\n"
        f"    def run(self, host):\n"
        f"        {run or 'self.owner.addText(self.provides() + chr(32) + host + chr(10))'}\n"
    )


def usage_line(word: str) -> str:
    """What follows an error of such a command."""
    return f"rocks {word} [host] ... [NAME=VALUE] ...; rocks help {word} explains it\n"
