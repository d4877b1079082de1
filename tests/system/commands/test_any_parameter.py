"""Any text in any argument and parameter of any command: no fault of ours, nothing half done, nothing for a terminal.

The commands come from the tree, each with its first example, so that a new command is here without being named.
"""

import io
import random
import shlex
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rocks.commands._framework.documentation import Documentation
from rocks.database.connection import Database
from rocks.storage.broker.broker import BrokerControl
from tests.generated import PROFILE, examples
from tests.system.commands.any_text import NASTY
from tests.system.commands.conftest import Site
from tests.system.commands.test_statement_counts import documented

pytestmark = pytest.mark.slow

Path = tuple[str, ...]

LEFT_OUT_VERBS = {
    "create": "it writes into the folder in which it is, or the authority and the database of the machine",
    "discover": "it becomes a service",
    "iterate": "it runs programs of the user's",
    "run": "it runs programs of the user's",
    "shell": "it runs the lines of its input, among them programs of the user's",
    "sync": "it writes files of the machine and reloads its services",
    "update": "it changes the tables of the database, which no undone commit takes back",
}
"""Verb → why."""

VERBS = sorted({path[0] for path, _ in documented()} - LEFT_OUT_VERBS.keys())

LEFT_OUT = {
    ("add", "image"): "it copies any file of the machine into the library of images",
    ("add", "host", "certificate"): "it changes the authority of the machine, which other tests read",
    ("remove", "host", "certificate"): "it changes the authority of the machine, which other tests read",
    ("list", "site"): "it does not end with watch=yes",
    ("restore", "site"): "it replaces files of the machine",
    ("save", "image"): "it writes a file of any name",
    ("save", "site"): "it writes a file of any name",
    **{
        ("start", "service", name): "it becomes a service" for name in ("airboss", "boot", "dns", "kickstart")
    },
}
"""Command → why."""

PIECES = (*NASTY, "\udcff", "`reboot`", "\x07")


def any_text(chance: random.Random) -> str:
    """A piece, several of them, or any characters that a command line can have."""
    kind = chance.randrange(4)
    if kind < 2:
        return chance.choice(PIECES)
    if kind == 2:
        return "".join(chance.choices(PIECES, k=chance.randint(2, 3)))
    return "".join(chr(chance.randrange(1, 0xD800)) for _ in range(chance.randint(1, 12)))


def places(path: Path, documentation: Documentation) -> Iterator[list[str]]:
    """The first example with `TEXT` in place of each argument, and as each parameter."""
    example = shlex.split(documentation.examples[0][0]) if documentation.examples else list(path)
    given = example[len(path) :]
    named = [word for word in given if "=" in word]
    positional = [word for word in given if "=" not in word]
    for number in range(max(len(positional), len(documentation.arguments))):
        yield [*path, *positional[:number], "TEXT", *positional[number + 1 :], *named]
    for parameter in documentation.parameters:
        others = [word for word in named if not word.startswith(f"{parameter.name}=")]
        yield [*path, *positional, *others, f"{parameter.name}=TEXT"]


def chosen(all_places: list[list[str]], chance: random.Random) -> list[list[str]]:
    """Four places of a command, all in a random run: it has several hundred examples of each verb then."""
    return all_places if PROFILE == "random" else chance.sample(all_places, min(4, len(all_places)))


class Undone:
    """Has each commit undo its changes instead, and knows which there were."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.committed = False
        self._pending = False
        execute, rollback = Database.execute, Database.rollback

        def noted_execute(database: Database, sql: str, values: Sequence[object] = ()) -> int:
            count = execute(database, sql, values)
            self._pending = self._pending or (
                count > 0 and "sec_audit" not in sql
            )  # it has refused commands too
            return count

        def noted_rollback(database: Database) -> None:
            self._pending = False
            rollback(database)

        def undone_commit(database: Database) -> None:
            self.committed = self.committed or self._pending
            noted_rollback(database)

        monkeypatch.setattr(Database, "execute", noted_execute)
        monkeypatch.setattr(Database, "rollback", noted_rollback)
        monkeypatch.setattr(Database, "commit", undone_commit)


@pytest.fixture
def full_site(vm_site: Site) -> Site:
    """The hosts, networks and machines of the examples; no broker, whose program would start a port mapper."""
    vm_site.patch.setattr(BrokerControl, "is_here", property(lambda _: False))
    vm_site.patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    vm_site.done("add network optiputer 192.168.1.0 255.255.255.0")
    vm_site.done("add appliance tile 'membership=Viz Tile' node=viz-tile")
    for name in ("compute-0-0", "vm-container-0-0", "vm-container-0-1", "nas-0-0", "nas-0-1"):
        vm_site.done("add host", name, "shared-place=yes")
    vm_site.done("add host interface compute-0-0 eth0 mac=00:11:22:33:44:66 ip=10.1.0.40 subnet=private")
    vm_site.done("add cluster 203.0.113.30 2 fe-name=vc1 cluster-naming=yes container-hosts=vmc-0-0")
    vm_site.done("add host alias compute-0-0 c00")
    vm_site.done("add host attr compute-0-0 colour blue")
    return vm_site


@pytest.mark.parametrize("verb", VERBS)
@settings(max_examples=examples(1), suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
def test_any_text_in_any_place(full_site: Site, verb: str, seed: int) -> None:
    chance = random.Random(seed)
    before = full_site.contents()
    with pytest.MonkeyPatch.context() as patch:
        undone = Undone(patch)
        for path, documentation in documented():
            if path[0] == verb and path not in LEFT_OUT:
                for place in chosen(list(places(path, documentation)), chance):
                    text = any_text(chance)
                    undone.committed = False
                    check(full_site, undone, [word.replace("TEXT", text) for word in place])
    assert full_site.contents() == before


def check(site: Site, undone: Undone, line: list[str]) -> None:
    """Run a command; its messages are ours and printable, and a failure has committed nothing."""
    line_start = [word[:200] for word in line]
    ended = site.rocks(*line)
    assert 0 <= ended.status <= 255, (line_start, ended)
    for fault in ("Traceback", "has a fault", "please report", "refused a statement"):
        assert fault not in ended.err, (line_start, ended.err[:2000])
    assert all(one.isprintable() for one in ended.err.split("\n")), (line_start, ended.err[:2000])
    assert ended.status in (0, 3) or not undone.committed, (line_start, ended.err[:2000])
    assert ended.status == 0 or ended.err, line_start
