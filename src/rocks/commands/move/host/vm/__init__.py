"""`rocks move host vm`"""

import rocks.commands
from rocks.commands._shared.vm_filters import filters_of
from rocks.core.callers import check_full_rights
from rocks.core.names import printable
from rocks.machine.live_move import move_running_vm
from rocks.machine.move import MoveReporter, decide_disks, move_vm

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Move a virtual machine to another physical host: one that is off, or with live=yes one that runs.

    The files of its disks are copied to that host, through this machine; blocks of zeros are not sent. The new host
    reads its copy back and compares the digest with that of the old one. Then the new place is recorded, and the
    old files are removed. A machine that is off cannot be started meanwhile. Images on a NAS stay there. A machine with
    snapshots of image files is not moved. A file keeps its path if that is in an image directory of the new host;
    otherwise it goes to the folder for new images there.

    When the command is interrupted or killed, the machine can be started where it was, unless the new place was
    recorded: then on the new host. The same command continues: what has arrived is not sent again, unless the disk has
    changed since.

    <arg type='string' name='vm' of='machine'>
    The virtual machine.
    </arg>
    <arg type='string' name='physhost' of='physicalhost'>
    The physical host that gets it.
    </arg>
    <param type='bool' name='live' default='no'>
    yes: move a machine that runs, without stopping it. Its disks must be image files of its host, in an image directory
    that the other host has, too, or images on a NAS that are copied to its host; for these it is paused for some
    seconds, until the other host has them. It is an error for a machine with cores, huge pages or devices of its host
    for itself, or with UEFI: stop that one, and move it without live=yes. The machine runs on at most one of the
    hosts at any moment. After an interrupt, the same command finds out where, and completes or undoes the move.
    </param>
    <param type='string' name='disks' default='copy' values='copy,there'>
    copy: the disks are copied to the host. there: the host has them, and nothing is copied. After a live migration to
    a silent host was given up (stop host vm force=yes), disks=there decides which disks count: those of the new host,
    which must answer, or those of the old one, without what the guest has written on the new one. Until then the
    machine neither starts nor moves. If the guest had not arrived on the new host, the disks there are incomplete.
    </param>
    <shared names='dry-run'/>

    <example cmd='move host vm vm-vc1-0 vm-container-0-1'>
    Move the machine with its disks.
    </example>
    <example cmd='move host vm vm-vc1-0 vm-container-0-1 live=yes'>
    Move it while it runs.
    </example>
    <example cmd='move host vm vm-vc1-0 vm-container-0-1 dry-run=yes'>
    Check everything that can be checked before, and print the steps.
    </example>
    <related>set host vm</related>
    <related>list host image</related>
    <related>move host storageimg</related>
    """

    AdviceForTooMany = "must supply only one VM host"
    AdviceAfterInterrupt = (
        "the machine is where it was, unless the new place was recorded; the same command continues"
    )

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Move the machine and report it."""
        disks = self.fillText("disks", "copy")
        if disks == "there":
            check_full_rights("disks=there")
        vms, target = self.fillArgument("physhost")
        if not vms or not target:
            self.abort("must supply a virtual machine and the physical host that gets it")
        name, host = self.getOneHostname(vms), self.getOneContainer([target])
        reporter = MoveReporter(self.notify, self.showProgress)
        live = self.fillFlag("live")
        if disks not in ("copy", "there"):
            self.abort(f'disks must be copy or there, not "{printable(disks)}"')
        if disks == "there" and live:
            self.abort("disks=there is for a machine that is off; leave out live=yes")
        if disks == "there":
            lines = decide_disks(self.db, name, host, reporter)
        elif live:
            lines = move_running_vm(self.db, name, host, reporter, filters_of(self))
        else:
            lines = move_vm(self.db, name, host, reporter)
        for line in lines:
            self.addLine(line)
