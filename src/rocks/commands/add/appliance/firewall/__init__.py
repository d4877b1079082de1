"""`rocks add appliance firewall`"""

from rocks.commands._shared.firewall import LegacyFirewallAddition


class Command(LegacyFirewallAddition):
    """
    Add a firewall rule for appliances: the form of older rolls for rocks add firewall appliance=NAME.
    The command fails, and adds nothing, if one of them has a rule of this name.

    <arg type='string' name='appliance' repeat='1'>
    Appliances; % is a wildcard.
    </arg>
    <shared command='add firewall' names='rulename,service,protocol,chain,action,network'/>
    <shared command='add firewall' names='output-network,flags,comment,rulesrc'/>

    <example cmd='add appliance firewall compute rulename=A51-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private.
    </example>
    <example cmd='add appliance firewall compute login rulename=A52-WEB service=443 protocol=tcp chain=INPUT action=REJECT network=public'>
    Reject HTTPS from the network public on two appliances.
    </example>

    <related>add firewall</related>
    <related>list firewall</related>
    """  # noqa: E501 - the examples

    scope = "appliance"
