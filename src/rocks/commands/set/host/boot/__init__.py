"""`rocks set host boot`"""

import rocks.commands
from rocks.commands._shared.host_hooks import host_hooks
from rocks.install.boot.actions import set_next_boot
from rocks.install.boot.files import boot_folder, has_boot_service, unserved_hosts
from rocks.install.installation.states import INSTALL


class Command(rocks.commands.Command):
    """
    Set the action of hosts at their next boot, and let the plugins write the boot configuration. Without an
    action, only the plugins run; that is an error where none has anything to write. Where the boot service of this
    roll has been started (rocks start service boot), the next boot of a machine obeys at once. If this machine has the
    folder /tftpboot/pxelinux/pxelinux.cfg, each host with an address on the network private has a pxelinux file
    there. Hosted VMs have none, because the frontend of their cluster handles their boot.

    <shared names='hosts'/>
    <param type='string' name='action' default='unchanged: only boot files are written' values='os,run,install'>
    os or run: boot the installed system; install: reinstall the host. This machine itself is not reinstalled.
    </param>
    <shared names='dry-run'/>

    <example cmd='set host boot compute-0-0 action=install'>
    Reinstall the host at its next boot.
    </example>
    <example cmd='set host boot compute action=os'>
    All computes boot their disks.
    </example>

    <related>list host boot</related>
    <related>set host installaction</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the action and run the hooks."""
        hosts = self.getSomeHostnames(args)
        action = self.fillText("action")
        hooks = host_hooks(self)
        if action is not None:
            set_next_boot(self.db, hosts, action)
        elif len(hooks) == 1 and not boot_folder().is_dir() and not has_boot_service():
            self.abort(
                "must supply action= (os, run or install): without it only boot files are written, and this machine "
                f"has no boot service (no folder {boot_folder()}, and rocks start service boot never ran)"
            )
        for hook in hooks:
            hook(hosts)
        unserved = unserved_hosts(self.db, hosts) if action == INSTALL and has_boot_service() else []
        for host in unserved:
            self.notify(
                f"{host} has no IP and MAC address on the network private, so the boot service does not answer it: "
                f"rocks list host interface {host}, then rocks sync config"
            )
