"""`rocks remove bootaction`"""

import rocks.commands
from rocks.install.boot.actions import remove_boot_actions


class Command(rocks.commands.Command):
    """
    Remove boot actions, unless a host has one of them as its run or install action.

    <arg type='string' name='action' repeat='1'>
    Names of boot actions, in quotes if they contain blanks; the last one alternatively as action=ACTION.
    </arg>
    <shared names='dry-run'/>

    <example cmd='remove bootaction memtest'>
    One boot action.
    </example>
    <example cmd='remove bootaction memtest rescue'>
    Two boot actions.
    </example>

    <related>add bootaction</related>
    <related>list bootaction</related>
    """

    def repeatedByName(self) -> tuple[str, ...]:
        """One action may be given as a parameter."""
        return ("action",)

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Remove the boot actions."""
        actions = [*args, *([params["action"]] if params.get("action") else [])]
        if not actions:
            self.abort("must supply action; rocks list bootaction shows all")
        remove_boot_actions(self.db, actions)
