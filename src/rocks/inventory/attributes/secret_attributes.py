"""Secret attributes: which attributes and parameters hold secrets, by their names, and the rows that store them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rocks.database.sets import in_order
from rocks.inventory.attributes.known import KNOWN
from rocks.inventory.attributes.records import OLD_SUFFIX, SOURCE_LETTERS, resolve_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.database.connection import Database


_PARAMETERS = frozenset(("key", "value"))
"""Parameters that may hold a secret whatever the command."""
_NATURE = re.compile(
    r"passw|passphrase|pwd|secret|credential|community|token|pw($|[_.-])|(^|[_.-])pass($|[_.-])|private_?key|api_?key"
    r"|(?<!public)(?<!pub)[_.-]key($|[_.-])"
)
_PARAMETER = re.compile(r"[A-Za-z0-9_+-]+=")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
STARS = "***"
_PEM = "-----BEGIN"


def is_secret(name: str) -> bool:
    """Whether the name of an attribute or a parameter is that of a secret, as in `root_pw` or `ipmi-password`."""
    known = KNOWN.get(name.lower().removesuffix(OLD_SUFFIX))
    return (known is not None and known.is_secret) or _NATURE.search(name.lower()) is not None


def without_secrets(command_path: Sequence[str], texts: Sequence[str]) -> list[str]:
    """The texts of a command line for the log, with stars for values that are or may be secrets.

    A value that was typed without quotes is several texts, also some like `user=root`: all are stars. So is all from a
    key of OpenSSH or OpenSSL on, whatever its name: it may be a private one that was given by mistake.
    """
    logged = []
    first = _first_secret(command_path, texts)
    key = next((place for place, text in enumerate(texts) if _PEM in text), len(texts))
    for place, text in enumerate(texts):
        name, equals, value = text.partition("=")
        if place >= first or place > key:
            logged.append(STARS)
        elif equals and _PARAMETER.match(text):
            hidden = place == key or name.lower() in _PARAMETERS or is_secret(name)
            logged.append(f"{name}={STARS if hidden else text_without_secrets(value)}")
        else:
            logged.append(STARS if place == key else text)
    return logged


def text_without_secrets(text: str) -> str:
    """The text with stars for the values of secrets among its words NAME=VALUE, as a kernel's arguments have."""
    return " ".join(map(_word_without_secret, text.split(" ")))


def _word_without_secret(word: str) -> str:
    *names, _ = parts = word.split("=")
    first = next((place for place, name in enumerate(names, 1) if is_secret(name)), None)
    return word if first is None else "=".join((*parts[:first], STARS))


def _first_secret(command_path: Sequence[str], texts: Sequence[str]) -> int:
    """The place from which on the texts may be the value of a secret attribute; their number when none is."""
    if command_path[0] not in ("add", "set") or command_path[-1] not in ("attr", "sec_attr"):
        return len(texts)
    arguments = [place for place, text in enumerate(texts) if not _PARAMETER.match(text)]
    # the scopes but the global one have a member, and then the name
    names = 1 if len(command_path) == 2 else 2
    for place, text in enumerate(texts):
        if text.lower().startswith("attr=") and is_secret(text[5:]):
            return min([place + 1, *arguments[names - 1 :]])
        if place in arguments:
            name = _NAME.match(text)
            if is_secret(text) or (name and is_secret(name[0])):
                # a name and its value in one text, by mistake: name:value, my.name=value
                return place + 1 if name and name[0] == text else place
    if command_path[-1] == "sec_attr":
        # these commands take no value: what is typed after the name is one by mistake
        if any(text.lower().startswith("attr=") for text in texts):
            names -= 1
        return min([len(texts), *arguments[names:]])
    return len(texts)


# Secret attributes: tables that only root reads; of hosts, and global ones that hold for hosts without their own.


Row = tuple[str, str, str, str]
"""Host (empty for a global one), attribute, value, name of its encoding."""

_GLOBAL = SOURCE_LETTERS["global"]


def read_global(database: Database) -> list[Row]:
    """The global secret attributes, by name."""
    rows = database.rows("SELECT '', Attr, Value, Enc FROM sec_global_attributes ORDER BY Attr")
    return [_row(row) for row in rows]


def read_of_hosts(database: Database, hosts: Sequence[str]) -> list[Row]:
    """The secret attributes of these hosts, in their order, then by name."""
    rows = database.rows(
        "SELECT n.Name, s.Attr, s.Value, s.Enc FROM sec_node_attributes s JOIN nodes n ON n.ID = s.Node"
        " WHERE n.Name IN %s ORDER BY s.Attr",
        [hosts],
    )
    return [_row(row) for row in in_order(rows, hosts)]


def resolve_secret(database: Database, attribute: str, hosts: Sequence[str]) -> dict[str, str]:
    """Host → value of the attribute in the narrowest scope that has one; hosts without any are left out.

    Scopes without a table of secrets are among the other attributes. Of one scope the secret wins.
    """
    common = [value for _, name, value, _ in read_global(database) if name.lower() == attribute.lower()]
    found = dict.fromkeys(hosts, common[0]) if common else {}
    spelled = {host.lower(): host for host in hosts}
    for host, attributes in resolve_attributes(database, hosts, attribute).items():
        for name, resolved in attributes.items():
            if name.lower() == attribute.lower() and not (common and resolved.source == _GLOBAL):
                found[spelled[host.lower()]] = resolved.value
    own = read_of_hosts(database, hosts)
    found.update(
        {spelled[h.lower()]: value for h, name, value, _ in own if name.lower() == attribute.lower()}
    )
    return found


def store(database: Database, hosts: Sequence[str] | None, attribute: str, value: str) -> None:
    """Set the attribute of the hosts, or the global one (None), whether there is one or not."""
    if hosts is None:
        database.execute(
            "REPLACE INTO sec_global_attributes (Attr, Value) VALUES (%s, %s)", [attribute, value]
        )
    else:
        database.execute(
            "REPLACE INTO sec_node_attributes (Node, Attr, Value) SELECT ID, %s, %s FROM nodes"
            " WHERE Name IN %s",
            [attribute, value, hosts],
        )


def add(database: Database, host: str, attribute: str, value: str) -> None:
    """Set the attribute of the host, unless it has one."""
    database.execute(
        "INSERT IGNORE INTO sec_node_attributes (Node, Attr, Value) SELECT ID, %s, %s FROM nodes WHERE Name = %s",
        [attribute, value, host],
    )


def delete(database: Database, hosts: Sequence[str] | None, attribute: str) -> int:
    """Remove the attribute of the hosts, or the global one (None); returns how many there were."""
    if hosts is None:
        return database.execute("DELETE FROM sec_global_attributes WHERE Attr = %s", [attribute])
    return database.execute(
        "DELETE s FROM sec_node_attributes s JOIN nodes n ON n.ID = s.Node WHERE s.Attr = %s AND n.Name IN %s",
        [attribute, hosts],
    )


def _row(row: Sequence[object]) -> Row:
    host, attribute, value, encoding = row
    return str(host), str(attribute), str(value or ""), str(encoding or "")
