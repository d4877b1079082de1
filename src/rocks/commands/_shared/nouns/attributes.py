"""The noun `attr`: attributes, changed for each scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.commands._framework.confirmation import confirm_all
from rocks.commands._shared.nouns.scopes import ScopeCommand
from rocks.core.errors import RocksError, UserError
from rocks.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHAT = (
    "a global attribute",
    "an attribute of operating systems",
    "an attribute of appliances",
    "an attribute of hosts",
)
_NAME_AND_VALUE = """
    {arguments}
    <arg type='string' name='attr'>
    Name of the attribute: letters, digits and . _ -, beginning with a letter or an underscore. Alternative
    form: attr=NAME.
    </arg>
    <arg type='string' name='value'>
    Value, any text. Alternative form: value=VALUE, which is required for a value of the form name=value.
    </arg>
    <param type='bool' name='force' default='no'>
    yes: store the attribute although its name is nearly that of an attribute that the system reads. no: refuse
    such a name, as mistyped.
    </param>
"""


_HOOKED = ("set", "attr")
"""The command whose folder has the hooks that check values."""


class AttributeCommand(ScopeCommand):
    """Base of the commands that change attributes."""

    how_all_are_meant = ", when a person confirms it; without a terminal, % is needed"

    def members_to_change(self, names: Sequence[str], attribute: str) -> list[str]:
        """As `members`, for a change. All members are meant only by `%`, or when a person confirms it.

        UserError when the attribute is given by its place and is the name of a member: something was forgotten.
        """
        from rocks.inventory.attributes.changes import check_not_member

        if not self.fillText("attr"):
            check_not_member(self.db, attribute, member_is_named=bool(names) or self.scope == "global")
        found = self.members(names)
        if not names and self.scope != "global":
            confirm_all(self, self.scope, found)
        return found

    def check_attribute_name(self, name: str | None) -> str:
        """The attribute's name; UserError when it is missing, or given as an empty `attr=`."""
        if not name or self.fillText("attr") == "":
            raise UserError("missing attribute name")
        return name

    def check_frontend(self, attribute: str, name: str) -> None:
        """UserError where the site has physical frontends, and it would name none; a dump names it before."""
        from rocks.inventory.attributes.rules import known_spelling
        from rocks.inventory.cluster_records import hosts_of_appliance

        if self.scope != "global" or known_spelling(attribute) != "Kickstart_PrivateHostname":
            return
        known = [host for host, is_virtual in hosts_of_appliance(self.db, "frontend") if not is_virtual]
        if known and name.lower() not in (host.lower() for host in known):
            what = f"{printable(name)} is not" if name else f"{attribute} is not removed: it names"
            raise UserError(
                f"{what} the frontend of this site, which is {' or '.join(known)}: rocks set attr "
                f"Kickstart_PrivateHostname {known[0]}; rocks set host name {known[0]} NAME renames it"
            )


class AttributeSetter(AttributeCommand):
    """`set … attr`: members, a name and a value."""

    NoDryRun = "it changes records, and no host"
    required = ("appliance",)
    texts = {
        "what": _WHAT,
        "those": ("every host", "every Linux host", "every compute node", "one host"),
        "second": (
            'motd "Maintenance on Monday"',
            "linux colour green",
            "compute vm-container colour green",
            "compute colour green",
        ),
        "seconds": (
            "A value with blanks.",
            "An attribute of the site's own.",
            "Two appliances.",
            "All computes, by the name of their appliance.",
        ),
    }
    help = f"""
    Set {{what}}; it need not exist. The previous value is stored as the attribute with the suffix _old.
    {_NAME_AND_VALUE}
    <example cmd='set {{scope}}attr{{member}} managed false'>
    Set the attribute managed of {{those}} to false.
    </example>
    <example cmd='set {{scope}}attr {{second}}'>{{seconds}}</example>

    <related>add {{scope}}attr</related>
    <related>list {{scope}}attr</related>
    <related>remove {{scope}}attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value for all members at once."""
        names, (attribute, value) = self.splitArguments(("attr", "value"))
        if attribute is None and value is not None and "value" not in params:
            raise UserError(f'an attribute has a name and a value, and only "{printable(value)}" is given')
        attribute = self.check_attribute_name(attribute)
        if not value or self.fillText("value") == "":
            raise UserError("missing value of attribute")
        self.check_named(names)
        members = self.members_to_change(names, attribute)
        self.check_frontend(attribute, value)
        from rocks.inventory.attributes.rules import known_spelling  # late, as each of the next

        known = known_spelling(attribute)
        if known == "cpu_mode":
            from rocks.machine.cpu_models import check_cpu_model

            check_cpu_model(self.db, value)
        self._check_with_rolls(attribute, value)
        self.store(members, attribute, value)
        if known == "vm_image":
            self._note_absent_image(value)
        elif known == "kvm_max_memory" and self.scope == "host":
            self._note_low_maximum(members)

    def _note_absent_image(self, name: str) -> None:
        """A line where the library lacks the image: it may be added later, as after a dump was loaded."""
        from rocks.library.library_folder import find_source

        try:
            find_source(self.db, name)
        except RocksError as error:
            self.notify(f"no disk is made from this vm_image now: {error}")

    def _note_low_maximum(self, members: Sequence[str]) -> None:
        from rocks.inventory.loaded_host_records import which_are_vms
        from rocks.machine.change import size_warnings

        for line in size_warnings(self.db, which_are_vms(self.db, members), members):
            self.notify(f"Warning: {line}")

    def _check_with_rolls(self, attribute: str, value: str) -> None:
        """The errors of other rolls, which know the form of their attributes: hooks of `set attr`, in all scopes.

        A hook that cannot be loaded checks nothing: nobody could set any attribute.
        """
        from rocks.commands._framework.plugins import load_plugins_of, run_plugin

        def not_loaded(error: RocksError) -> None:
            self.notify(f"Warning: {error}; {attribute} is not checked by it")

        for plugin in load_plugins_of(self, _HOOKED, not_loaded=not_loaded):
            run_plugin(plugin, _HOOKED, attribute, value)

    def store(self, members: Sequence[str], attribute: str, value: str) -> None:
        """Set the attribute of the members."""
        from rocks.inventory.attributes.changes import set_attribute

        set_attribute(self.db, self.scope, members, attribute, value, self.fillFlag("force"))


class AttributeAddition(AttributeSetter):
    """`add … attr`: members, a name and a value."""

    texts = {
        **AttributeSetter.texts,
        "whom": ("all hosts", "all hosts with an operating system", "all hosts of appliances", "hosts"),
        "second": (
            'motd "Maintenance on Friday"',
            "linux sunos colour blue",
            "compute vm-container colour blue",
            "compute colour blue",
        ),
        "seconds": (
            "A value with blanks.",
            "Two operating systems.",
            "An attribute of the site's own, for two appliances.",
            "All computes, by the name of their appliance.",
        ),
    }
    help = f"""
    Add an attribute for {{whom}}. The command fails if the attribute exists.
    {_NAME_AND_VALUE}
    <example cmd='add {{scope}}attr{{member}} managed true'>
    Set the attribute managed of {{those}} to true.
    </example>
    <example cmd='add {{scope}}attr {{second}}'>{{seconds}}</example>

    <related>set {{scope}}attr</related>
    <related>list {{scope}}attr</related>
    <related>remove {{scope}}attr</related>
    """

    def store(self, members: Sequence[str], attribute: str, value: str) -> None:
        """Add the attribute to the members."""
        from rocks.inventory.attributes.changes import add_attribute

        add_attribute(self.db, self.scope, members, attribute, value, self.fillFlag("force"))


class AttributeRemoval(AttributeCommand):
    """`remove … attr`: members and a name."""

    texts = {
        "what": _WHAT,
        "this": (
            "the global attribute managed",
            "the attribute managed of Linux hosts",
            "the attribute managed of the appliance compute",
            "the attribute managed of one host",
        ),
        "second": ("motd", "linux colour", "compute vm-container colour", "compute colour"),
        "seconds": (
            *("An attribute of the site's own.",) * 2,
            "An attribute of two appliances.",
            "The attribute of all computes.",
        ),
    }
    help = """
    Remove {what}, and its previous value. A missing attribute is not an error; a line on standard error says so.

    {arguments}
    <arg type='string' name='attr'>
    Name of the attribute. Alternative form: attr=NAME.
    </arg>

    <example cmd='remove {scope}attr{member} managed'>
    Remove {this}; attributes of other scopes remain.
    </example>
    <example cmd='remove {scope}attr {second}'>{seconds}</example>

    <related>list {scope}attr</related>
    <related>set {scope}attr</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the attribute of all members at once."""
        from rocks.inventory.attributes.changes import remove_attribute

        names, attribute = self.fillArgument("attr")
        attribute = self.check_attribute_name(attribute)
        members = self.members_to_change(names, attribute)
        self.check_frontend(attribute, "")
        if not remove_attribute(self.db, self.scope, members, attribute):
            self._note_missing(members, attribute)

    def _note_missing(self, members: Sequence[str], attribute: str) -> None:
        from rocks.core.near_names import did_you_mean
        from rocks.inventory.attributes.records import read_attributes

        names = {name for _, name, _ in read_attributes(self.db, self.scope, members)}
        hint = did_you_mean(attribute, sorted(names))
        self.note_missing("attr", f'attribute "{printable(attribute)}"', members, hint)
