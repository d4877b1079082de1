"""The noun `sec_attr`: secret attributes, global ones and those of hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._shared.nouns.scopes import ScopeCommand, ScopeDump, ScopeListing
from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.inventory.attributes.secret_names import is_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.commands._shared.nouns.scopes import Texts
    from rocks.inventory.attributes.secret_records import Row


_NO_VALUE = "a value is not given on the command line, which other users see: give it on standard input or in file=PATH"
_NAME = """
    {arguments}
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>
"""


def _of(site: str, hosts: str) -> Texts:
    """The texts of the two scopes that secrets have."""
    return (site, "", "", hosts)


class SecretCommand(ScopeCommand):
    """Base of the commands that change a secret attribute: a name, after hosts in their scope."""

    required = ("host",)

    def hosts_of(self, names: Sequence[str]) -> list[str] | None:
        """The hosts that the names select; None for a global attribute."""
        return self.getSomeHostnames(names) if self.scope == "host" else None

    def attribute_and_names(self) -> tuple[str, list[str]]:
        """The attribute's name and the arguments before it."""
        names, (attribute,) = self.requireArguments("attr")
        return attribute, names


class SecretSetter(SecretCommand):
    """`set … sec_attr`."""

    AdviceForTooMany = _NO_VALUE
    texts = {
        "owners": _of("all hosts", "hosts"),
        "precedence": _of(" A secret attribute of a host takes precedence.", ""),
        "first": _of("ipmi_password file=/root/secret", "vm-container-0-0 vm_fence_command"),
        "firsts": _of("The value is the content of the file.", "The command prompts for the value."),
        "second": _of("ipmi_password", "vm-container-0-0 vm_fence_command file=/root/secret"),
        "seconds": _of(
            "The value is read from standard input, on a terminal without being printed.",
            "The value is read from a file.",
        ),
        "other": _of("host ", ""),
    }
    help = f"""
    Set a secret attribute of {{owners}}, such as the password of a power switch. Only root can read it. The
    value comes from standard input, where a terminal does not show it, or from a file: other users see command
    lines, and the system log records them.{{precedence}}
    {_NAME}
    <param type='string' name='file' default='standard input' of='file'>
    File with the value, which only its owner may read (mode 0600).
    </param>

    <example cmd='set {{scope}}sec_attr {{first}}'>{{firsts}}</example>
    <example cmd='set {{scope}}sec_attr {{second}}'>{{seconds}}</example>

    <related>list {{scope}}sec_attr</related>
    <related>remove {{scope}}sec_attr</related>
    <related>set {{other}}sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Read the value and store it. Nothing of the database is open while a person types."""
        from rocks.trust.secrets import read_secret, set_secret

        attribute, names = self.attribute_and_names()
        self._check_hosts(names)
        self.db.rollback()
        value = read_secret(self.fillText("file", ""))
        set_secret(self.db, self.hosts_of(names), attribute, value)

    def _check_hosts(self, names: Sequence[str]) -> None:
        """UserError for hosts that do not exist; the last one is the attribute when a value follows it."""
        try:
            self.hosts_of(names)
        except UserError as error:
            if self.scope == "host" and names and (len(names) > 1 or is_secret(names[-1])):
                raise UserError(f"{_NO_VALUE} ({error})") from None
            raise


class SecretRemoval(SecretCommand):
    """`remove … sec_attr`."""

    texts = {
        "those": _of("of all hosts; those of single hosts remain", "of hosts; a global one remains"),
        "first": _of("ipmi_password", "vm-container-0-0 vm_fence_command"),
        "firsts": _of("Remove it.", "Remove it from one host."),
        "second": _of("root_pw", "vm-container vm_fence_command"),
        "seconds": _of("Another secret.", "All VM containers."),
    }
    help = f"""
    Remove a secret attribute {{those}}. A missing attribute is not an error; a line on standard error says so.
    {_NAME}
    <example cmd='remove {{scope}}sec_attr {{first}}'>{{firsts}}</example>
    <example cmd='remove {{scope}}sec_attr {{second}}'>{{seconds}}</example>

    <related>set {{scope}}sec_attr</related>
    <related>list {{scope}}sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute."""
        from rocks.core.near_names import did_you_mean
        from rocks.inventory.attributes.secret_records import delete

        attribute, names = self.attribute_and_names()
        hosts = self.hosts_of(names)
        if not delete(self.db, hosts, attribute):
            hint = did_you_mean(attribute, sorted({name for _, name, *_ in _read(self, hosts or [])}))
            self.note_missing("sec_attr", f'secret attribute "{printable(attribute)}"', hosts or [], hint)


class SecretListing(ScopeListing):
    """`list … sec_attr`."""

    MustBeRoot = 1
    header = ("attr", "value", "enc")
    texts = {
        "owners": _of("all hosts", "hosts"),
        "others": _of(
            "",
            " Those of all hosts are not included: see list sec_attr. ENC is the encoding of a value that another "
            "program has stored encoded; set host sec_attr stores plain text, and no encoding.",
        ),
        "one": _of("", "Those of one host."),
        "all": _of("All of them.", "All hosts."),
        "other": _of("host ", ""),
    }
    help = """
    List the secret attributes of {owners}, with their values.{others}

    {arguments}

    <example cmd='list {scope}sec_attr vm-container-0-0'>{one}</example>
    <example cmd='list {scope}sec_attr'>{all}</example>

    <related>set {scope}sec_attr</related>
    <related>list {other}sec_attr</related>
    """

    def rows(self, members: Sequence[str]) -> Sequence[tuple[str, Sequence[str]]]:
        """The attributes, by name."""
        return [(member, cells) for member, *cells in _read(self, members)]


class SecretDump(ScopeDump):
    """`dump … sec_attr`."""

    MustBeRoot = 1
    InWholeDump = False
    texts = {
        "those": _of("global secret attributes", "secret attributes of hosts"),
        "other": _of("host ", ""),
    }
    help = """
    Print the commands that set the {those}, with their values: keep the output where only root can
    read it. rocks dump leaves secrets out.

    {arguments}

    <example cmd='dump {scope}sec_attr'>
    Print one shell command per secret.
    </example>
    <example cmd='dump {scope}sec_attr vm-container-0-0'>{one}</example>

    <related>dump {other}sec_attr</related>
    <related>set {scope}sec_attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print one command per secret."""
        for host, name, value, _ in _read(self, self.members(args)):
            self.dump_secret(host or None, name, value)


def _read(command: ScopeCommand, members: Sequence[str]) -> list[Row]:
    from rocks.inventory.attributes.secret_records import read_global, read_of_hosts

    return read_global(command.db) if command.scope == "global" else read_of_hosts(command.db, members)
