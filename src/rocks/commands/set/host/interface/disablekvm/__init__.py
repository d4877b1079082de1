"""`rocks set host interface disablekvm`"""

import rocks.commands
from rocks.core.values import yes_or_no
from rocks.network.interfaces import set_disabled

RollName = "kvm"


class Command(rocks.commands.Command):
    """
    Disable interfaces of virtual machines: from its next start, the guest does not have the interface.

    <shared names='hosts'/>
    <arg type='string' name='iface'>
    The interface, by device. Alternative form: iface=IFACE.
    </arg>
    <arg type='bool' name='disablekvm'>
    yes: the guest does not have the interface; no: it has. Alternative form: disablekvm=DISABLEKVM.
    </arg>

    <example cmd='set host interface disablekvm vm-vc1-0 eth1 yes'>
    From its next start, the guest has no eth1.
    </example>
    <example cmd='set host interface disablekvm vm-vc1-0 eth1 no'>
    The machine has the interface again at its next start.
    </example>

    <related>list host interface disablekvm</related>
    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Store the value."""
        hosts, (iface, value) = self.requireArguments("iface", "disablekvm")
        disabled = yes_or_no("disablekvm", value)
        set_disabled(self.db, self.getSomeHostnames(hosts), iface, disabled)
