"""`rocks add bootaction`"""

import rocks.commands
from rocks.actions.boots import add_boot_action


class Command(rocks.commands.Command):
    """
    Add a boot action, or give an existing one another kernel, ramdisk and arguments.

    <param type='string' name='action' optional='0'>
    Its name: words such as install vm frontend.
    </param>
    <param type='string' name='kernel'>
    The kernel, or what the boot loader does instead, such as localboot 0.
    </param>
    <param type='string' name='ramdisk'>
    The initial ramdisk.
    </param>
    <param type='string' name='args'>
    Arguments of the kernel.
    </param>

    <example cmd='add bootaction action=memtest kernel=memtest86'>
    Hosts whose run action is memtest test their memory.
    </example>

    <related>list bootaction</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add or update the action."""
        _, action = self.fillPositionalArgs(("action",))
        if not action:
            self.abort("must supply an action")
        add_boot_action(
            self.db, action, *self.fillParams([("kernel", None), ("ramdisk", None), ("args", None)])
        )
