"""The tables of error messages quote messages that the programs really give."""

import ast
import re
from functools import cache

from rocks.storage.broker.broker import BROKER_GUIDE
from tests.unit.docs.pages import CHECKOUT

_PLACEHOLDER = re.compile(r"\b(?:[A-Z]|[0-9]+)\b(?:\.[A-Z]\b)?|…|\(…\)|\"|…")
_VALUE = re.compile(r"\$\([^()]*(?:\([^()]*\)[^()]*)*\)|\$\{[^}]*\}|\$\w+")
"""A value in a message of a shell script."""

_SHORTEST = 8


def tables() -> list[list[str]]:
    """The rows of each table whose first column has messages."""
    found = []
    for name in ("messages.md", "installing-hosts.md", "owners-remote-control.md"):
        text = (CHECKOUT / "docs" / "guide" / name).read_text("utf-8")
        parts = re.split(r"^\| message(?: \(shortened\))? \|.*\n", text, flags=re.MULTILINE)[1:]
        found += [part.split("\n\n")[0].splitlines()[1:] for part in parts]
    return found


def quoted_messages() -> list[str]:
    """The messages in the first columns."""
    rows = (row for table in tables() for row in table)
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


def pieces(message: str) -> list[str]:
    """What of a message is the same whatever it is about."""
    return [piece.strip(" .,:;()?") for piece in _PLACEHOLDER.split(message)]


@cache
def texts_of_the_programs() -> str:
    """All text in the sources, values in messages left out."""
    found = []
    # a fake raises the errors of its device, which the driver puts together from parts
    for source in (*(CHECKOUT / "src" / "rocks").rglob("*.py"), *(CHECKOUT / "tests/fakes").glob("*.py")):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    scripts = [
        *(CHECKOUT / "src/rocks/install/graph").glob("f*"),
        *(CHECKOUT / "roll/installer/initramfs").rglob("*"),
    ]
    for script in [*scripts, *(CHECKOUT / "nodes").glob("*.xml")]:
        if script.is_file() and script.suffix != ".py":
            found.append(_VALUE.sub("\0", script.read_text("utf-8").replace('" \\\n', "")))
    return "\n".join(found)


def test_every_quoted_message_is_in_the_programs() -> None:
    offenders = []
    for message in quoted_messages():
        fixed = [piece for piece in pieces(message) if len(piece) >= _SHORTEST]
        if not fixed:
            offenders.append(f"{message!r} has no words of its own")
        offenders += [f"{message!r}: {piece!r}" for piece in fixed if piece not in texts_of_the_programs()]
    assert offenders == []


def test_the_tables_are_read() -> None:
    assert len(tables()) > 10
    assert len(quoted_messages()) > 80


def test_a_message_that_nobody_gives_would_be_found() -> None:
    assert "the moon is in the wrong quarter" not in texts_of_the_programs()


def test_the_page_that_an_error_names_explains_the_broker() -> None:
    text = (CHECKOUT / BROKER_GUIDE).read_text("utf-8")
    assert "## Certificates\n" in text and "## A broker on another host\n" in text
