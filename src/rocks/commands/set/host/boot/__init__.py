"""`rocks set host boot`"""

import rocks.commands
from rocks.actions.hosts import set_next_boot
from rocks.commands._shared.host_hooks import host_hooks


class Command(rocks.commands.Command):
    """
    Set what hosts do at their next boot, and let the hooks write the boot configuration. Without an action the
    hooks alone run. Where this machine has the folder /tftpboot/pxelinux/pxelinux.cfg, a host with an address on
    the network private has a file there for pxelinux. Hosted VMs have none: their cluster's own frontend answers.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param type='string' name='action'>
    os or run: the host boots what it has; install: it is installed anew.
    </param>

    <example cmd='set host boot compute-0-0 action=install'>
    It is installed anew at its next boot.
    </example>

    <related>list host boot</related>
    <related>set host installaction</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Record the action and call the hooks."""
        hosts = self.getSomeHostnames(args)
        (action,) = self.fillParams([("action", None)])
        if action is not None:
            set_next_boot(self.db, hosts, action)
        for hook in host_hooks(self):
            hook(hosts)
