"""`rocks add os firewall`"""

from rocks.commands._shared.firewall import LegacyFirewallAddition


class Command(LegacyFirewallAddition):
    """
    Add a firewall rule for operating systems: the form of older rolls for rocks add firewall os=NAME.
    The command fails, and adds nothing, if one of them has a rule of this name.

    <arg type='string' name='os' repeat='1'>
    Operating systems: linux or sunos.
    </arg>
    <shared command='add firewall' names='rulename,service,protocol,chain,action,network'/>
    <shared command='add firewall' names='output-network,flags,comment,rulesrc'/>

    <example cmd='add os firewall linux rulename=A51-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private.
    </example>
    <example cmd='add os firewall linux rulename=A52-PING service=all protocol=icmp chain=INPUT action=ACCEPT network=all'>
    Answer pings from everywhere.
    </example>

    <related>add firewall</related>
    <related>list firewall</related>
    """  # noqa: E501 - the examples

    scope = "os"
