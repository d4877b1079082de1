"""`rocks set host interface options`"""

import rocks.commands
from rocks.actions.interfaces import set_options


class Command(rocks.commands.Command):
    """
    Set the options of hosts' interfaces: those of the driver, and words such as dhcp or noreport. For an interface of a
    virtual machine, sriov asks for a virtual function of its host's adapter (rocks set host sriov); with sriov-trust
    besides the adapter trusts the guest, with sriov-nospoofchk it lets it send under any MAC address. For an interface
    of a host, macvtap gives guests on its network a macvtap each, so that it need be no bridge.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <arg type='string' name='iface'>
    The interface: its device or its MAC address. May be given as iface=…
    </arg>
    <arg type='string' name='options'>
    The options, in quotes when they hold blanks; NULL clears them. May be given as options=…
    </arg>

    <example cmd='set host interface options compute-0-0 eth0 noreport'>
    The interface is left out of reports.
    </example>

    <example cmd='set host interface options vm-vc1-0 eth0 sriov'>
    From its next start on the machine has a virtual function for that interface.
    </example>

    <related>list host interface</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Set it."""
        hosts, iface, options = self.fillPositionalArgs(("iface", "options"))
        if not iface:
            self.abort("must supply iface")
        if not options:
            self.abort("must supply options")
        set_options(self.db, self.getSomeHostnames(hosts), iface, options)
