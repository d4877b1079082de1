"""`rocks add host firewall`"""

from rocks.commands._shared.firewall import LegacyFirewallAddition


class Command(LegacyFirewallAddition):
    """
    Add a firewall rule for hosts: the form of older rolls for rocks add firewall host=NAME.
    The command fails, and adds nothing, if one of them has a rule of this name.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <shared command='add firewall' names='rulename,service,protocol,chain,action,network'/>
    <shared command='add firewall' names='output-network,flags,comment,rulesrc'/>

    <example cmd='add host firewall compute-0-0 rulename=A51-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private.
    </example>
    <example cmd='add host firewall compute rulename=A52-SSH service=22 protocol=tcp chain=INPUT action=DROP network=public comment="no SSH from outside"'>
    All computes drop SSH from the network public.
    </example>

    <related>add firewall</related>
    <related>list firewall</related>
    """  # noqa: E501 - the examples

    scope = "host"
