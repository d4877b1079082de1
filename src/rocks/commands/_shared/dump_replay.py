"""Takes over the lines of another frontend's dump, in one transaction; each that fails leaves no trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.commands._framework.tree import longest_prefix, tree_folders
from rocks.core.errors import StateError, UserError
from rocks.core.names import printable
from rocks.inventory.attributes.secret_names import without_secrets
from rocks.site.dump_loading import (
    LOCAL,
    ONLY_ADDS,
    Planned,
    check_changes_nothing,
    check_stated_once,
    command_texts,
    is_of_new_frontend,
    plan_line,
    read_lines,
    sole_values,
    store_boot_line,
    what_is_stated,
)
from rocks.site.first_rows import FIRST_ATTRIBUTES, MADE_WITH_APPLIANCE

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from rocks.commands._framework.base import Command
    from rocks.site.dump_loading import DumpLine, Stated

_MAX_CHARACTERS = 72
"""Characters of a line that a listing shows."""
_PROGRESS_LINES = 100


class _AnyHost:
    def __contains__(self, name: object) -> bool:
        return True


class LeftOut(NamedTuple):
    """A line that was not taken over."""

    number: int
    printed: str
    reason: str


class Replay:
    """The lines of a dump, taken over by the commands of `command`'s tree; counts them."""

    def __init__(self, command: Command, local: str) -> None:
        self._command = command
        self._local = local.lower()
        self._trees = tree_folders()
        self._hosts = {LOCAL, *(name.lower() for name in command.getHostnames())}
        self._new_appliances: set[str] = set()
        self._same_lines: set[tuple[str, ...]] = set()
        """Lines of this site's own dump that no dump can have done, such as those of rolls."""
        self._added: set[tuple[object, ...]] = set()
        self._present: dict[tuple[object, ...], list[dict[str, str]]] = {}
        self._here: dict[tuple[object, ...], list[Stated]] = {}
        self._owners: dict[tuple[str, str], str] = {}
        """What only one host can have → the host of this site that has it."""
        self._sole: dict[str, list[tuple[str, str]]] = {}
        """Host of the dump in lower case → what only one host can have of what the dump says about it."""
        for planned in self._lines_of_this_site():
            self._owners.update(dict.fromkeys(sole_values(planned), "".join(planned.arguments[:1])))
            key, values = self._key(planned)
            self._present.setdefault(key, []).append(values)
            stated = what_is_stated(0, *key, values)
            self._here.setdefault(stated.about, []).append(stated)
        self._stated: dict[tuple[object, ...], list[Stated]] = {}
        self.taken = 0
        self.already = 0
        self.left_out: list[LeftOut] = []
        self.replaced: list[str] = []
        """A sentence for each value of every new database that a line replaces."""

    def run(self, lines: Sequence[DumpLine]) -> None:
        """Take over all lines in order. Errors that concern more than a line are raised."""
        for planned in self._planned(lines, hosts=_AnyHost()):
            self._added.add(self._about(planned))
            if found := sole_values(planned):
                self._sole.setdefault(planned.arguments[0].lower(), []).extend(found)
        for count, line in enumerate(lines):
            if count % _PROGRESS_LINES == 0:
                self._command.showProgress(f"line {count} of {len(lines)}")
            try:
                self._take(line.number, self._plan(line))
            except (UserError, StateError) as error:
                if line.texts[1:] in self._same_lines:
                    self.already += 1
                    continue
                self.left_out.append(LeftOut(line.number, self._printed(line), str(error)))
        self._command.showProgress("")

    def _take(self, number: int, planned: Planned) -> None:
        if planned.path[0] == "remove":
            self._check_removes_nothing(planned)
            self.already += 1
            return
        (path, arguments), values = self._key(planned)
        stated = what_is_stated(number, path, arguments, values)
        check_stated_once(stated, self._stated.get(stated.about, ()))
        # the frontend is there, with the processors of this machine
        if self._is_already_so(planned) or (path, arguments) == (("add", "host"), (LOCAL,)):
            self.already += 1
        else:
            here = self._here.get(stated.about, [])
            change = self._as_change(planned)
            is_first = change.path != path or (len(here) == 1 and is_of_new_frontend(here[0], self._local))
            if path == ("add", "host") and not here:
                self._check_is_no_other(planned.arguments[0])
            elif path == ("add", "host") or (path[0] == "set" and not is_first):
                check_changes_nothing(stated, here)
            self._apply(change)
            self.taken += 1
            if here and is_first:
                what = values.get("attr", " ".join((path[-1], "of", *arguments)))
                ((key, old),) = here[0].values.items()
                self.replaced.append(
                    f"line {number}: {what} was {printable(old)}, as in every new database, and gets "
                    f"{printable(stated.values[key])}"
                )
        self._stated.setdefault(stated.about, []).append(stated)

    def _check_is_no_other(self, name: str) -> None:
        """UserError for a new host that another one of this site is, or whose place it has: it would be half a host."""
        for kind, value in self._sole.get(name.lower(), ()):
            if owner := self._owners.get((kind, value)):
                raise UserError(
                    f"{owner} has its {kind} {value} here: if it was renamed since the dump, rocks set host name "
                    f"{owner} {name}, else give {owner} another {kind}; then repeat this"
                )

    def _plan(self, line: DumpLine, hosts: Container[str] | None = None) -> Planned:
        # `"add host" vm` is about the host vm: words that are quoted together name the command alone
        quoted_together = len(line.texts[1].split()) if len(line.texts) > 1 else 0
        length = self._command_length if quoted_together < 2 else lambda _: quoted_together
        return plan_line(command_texts(line), length, self._hosts if hosts is None else hosts)

    def _command_length(self, texts: Sequence[str]) -> int:
        return longest_prefix(texts, self._trees)

    def _apply(self, planned: Planned) -> None:
        database = self._command.db
        with database.part():
            if not store_boot_line(database, planned):
                self._command.command(".".join(planned.path), planned.texts)
        if planned.path == ("add", "host"):
            self._hosts.add(planned.arguments[0].lower())
        elif planned.path == ("add", "appliance"):
            self._new_appliances.add(planned.arguments[0].lower())

    def _as_change(self, planned: Planned) -> Planned:
        """An attribute that is there only because every new database, or a new appliance, has it is changed.

        Its name was accepted where the dump is from, also one that is nearly that of another.
        """
        if planned.path[0] != "add" or planned.path[-1] != "attr":
            return planned
        given = dict(planned.parameters)
        planned = planned._replace(parameters=tuple((given | {"force": "yes"}).items()))
        scope = planned.path[1] if len(planned.path) == 3 else "global"
        member = planned.arguments[0] if planned.arguments else "global"
        first = FIRST_ATTRIBUTES.get((scope, member), {}).get(given["attr"])
        here = [values for values in self._of(planned) if values.get("attr") == given["attr"]]
        is_first = first is not None and here and here[0].get("value") == first
        is_of_new = (
            scope == "appliance"
            and member.lower() in self._new_appliances
            and given["attr"] in MADE_WITH_APPLIANCE
        )
        return planned._replace(path=("set", *planned.path[1:])) if is_first or is_of_new else planned

    # what is here already

    def _lines_of_this_site(self) -> Iterator[Planned]:
        """The present site as the lines of a dump."""
        # the whole dump lacks those of every new database
        appliances = self._command.command("dump appliance")
        lines = list(read_lines(appliances + self._command.command("dump")))
        yield from self._planned(lines, self._same_lines)
        yield from self._firewall_rules()

    def _planned(
        self,
        lines: Iterable[DumpLine],
        others: set[tuple[str, ...]] | None = None,
        hosts: Container[str] | None = None,
    ) -> Iterator[Planned]:
        """The lines that can be taken over; what follows the program in the others is added to `others`.

        `hosts` are those that there are; None for the present ones.
        """
        for line in lines:
            try:
                yield self._plan(line, hosts)
            except UserError:
                if others is not None:
                    others.add(line.texts[1:])

    def _firewall_rules(self) -> Iterator[Planned]:
        from rocks.commands.dump.firewall import parameters_of
        from rocks.network.firewall.records import read_rules

        for rule in read_rules(self._command.db):
            pairs = (text.partition("=")[::2] for text in parameters_of(rule))
            yield Planned(("add", "firewall"), (), tuple(pairs))

    def _check_removes_nothing(self, planned: Planned) -> None:
        """UserError for the removal of what is here, and what no line of the dump adds again."""
        kind = planned.path[1:]
        if kind == ("firewall",):
            here = self._firewall_rules()
        else:
            here = self._planned(read_lines(self._command.command(" ".join(("dump", *kind)))))
        removed = self._about(planned._replace(path=("add", *kind)))
        for one in map(self._about, here):
            is_removed = len(one) == len(removed) and all(
                text in ("%", other) for text, other in zip(removed, one, strict=True)
            )
            if is_removed and one not in self._added:
                raise UserError(ONLY_ADDS)

    def _about(self, planned: Planned) -> tuple[object, ...]:
        (path, arguments), values = self._key(planned)
        return what_is_stated(0, path, arguments, values).about

    def _is_already_so(self, planned: Planned) -> bool:
        _, given = self._key(planned)
        return any(given.items() <= values.items() for values in self._of(planned))

    def _of(self, planned: Planned) -> list[dict[str, str]]:
        return self._present.get(self._key(planned)[0], [])

    def _key(self, planned: Planned) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], dict[str, str]]:
        """(what a line is about, its values), the same for `localhost` and the frontend's name."""
        arguments = tuple(
            LOCAL if text.lower() == self._local else text.lower() for text in planned.arguments
        )
        values = {
            name: LOCAL if name in ("host", "physnode") and value.lower() == self._local else value
            for name, value in planned.parameters
            if name not in ("shared-place", "force")
            and (name, value) != ("virt-type", "None")  # Rocks' word for none
        }
        if planned.path == ("add", "firewall"):
            values.setdefault("network", "all")
            if not {"global", "os", "appliance", "host"} & set(values):
                values["global"] = "global"
        return (planned.path, arguments), values

    def _printed(self, line: DumpLine) -> str:
        """The beginning of a line, without secrets."""
        try:
            texts = command_texts(line._replace(fault=""))
        except (UserError, ValueError):
            return (line.texts[0] if line.texts else "")[:_MAX_CHARACTERS]
        length = max(self._command_length(texts), 1)
        text = " ".join((*texts[:length], *without_secrets(texts[:length], texts[length:])))
        return text if len(text) <= _MAX_CHARACTERS else f"{text[: _MAX_CHARACTERS - 1]}…"
