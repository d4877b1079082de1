"""`rocks set host interface options`"""

from rocks.commands._shared.setters import InterfaceSetter
from rocks.network.interfaces import set_options


class Command(InterfaceSetter):
    """
    Set the options of hosts' interfaces: options of the driver, and keywords such as dhcp or noreport. For an
    interface of a virtual machine, sriov requests a virtual function of its host's adapter (rocks set host
    sriov). With sriov-trust in addition, the adapter trusts the guest; with sriov-nospoofchk, the guest may
    send from any MAC address. For an interface of a host, macvtap gives each guest on its network a macvtap
    device, so that the interface need not be a bridge.

    <shared command='set host interface channel' names='host,iface'/>
    <arg type='string' name='options'>
    Options, in quotes if they contain blanks; NULL clears them. Alternative form: options=OPTIONS.
    </arg>

    <example cmd='set host interface options compute-0-0 eth0 noreport'>
    Omit the interface from reports.
    </example>

    <example cmd='set host interface options vm-vc1-0 eth0 sriov'>
    From its next start, the machine has a virtual function for this interface.
    </example>

    <related>list host interface</related>
    """

    argument = "options"
    apply = set_options
