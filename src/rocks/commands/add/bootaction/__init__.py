"""`rocks add bootaction`"""

import rocks.commands
from rocks.install.boot.actions import add_boot_action


class Command(rocks.commands.Command):
    """
    Add a boot action, or replace the kernel, ramdisk and arguments of an existing one.

    <param type='string' name='action' optional='0'>
    Name of the boot action; it may contain blanks, as in install vm frontend.
    </param>
    <param type='string' name='kernel' default='none'>
    Kernel, or a command of the boot loader such as localboot 0.
    </param>
    <param type='string' name='ramdisk' default='none'>
    Initial ramdisk.
    </param>
    <param type='string' name='args' default='none'>
    Kernel arguments.
    </param>
    <shared names='dry-run'/>

    <example cmd='add bootaction action=memtest kernel=memtest86'>
    Hosts with the run action memtest run a memory test.
    </example>
    <example cmd='add bootaction action=rescue kernel=vmlinuz ramdisk=initrd.img args="rescue console=ttyS0"'>
    A boot action with its own RAM disk and kernel arguments.
    </example>

    <related>list bootaction</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add or update the action."""
        _, action = self.fillArgument("action")
        if not action:
            self.abort("must supply an action")
        kernel, ramdisk, arguments = self.fillTexts("kernel", "ramdisk", "args")
        add_boot_action(self.db, action, kernel, ramdisk, arguments)
