"""`rocks add host firewall`"""

from rocks.commands._shared.firewall import LegacyFirewallAddition


class Command(LegacyFirewallAddition):
    """
    Add a firewall rule for hosts: the form of older rolls for rocks add firewall host=NAME.
    The command fails, and adds nothing, if one of them has a rule of this name.

    <arg type='string' name='host' repeat='1'>
    Hosts, by name or any other selector.
    </arg>
    <param optional='0' type='string' name='rulename'>
    Name of the rule. Rules of a host are sorted by it. A rule replaces those of the same name in lower scopes: host
    before appliance, os and global.
    </param>
    <param optional='0' type='string' name='service'>
    Service: a name of /etc/services, a port, a range PORT:PORT, all, or nat for address translation.
    </param>
    <param optional='0' type='string' name='protocol'>
    Protocol: tcp, udp, icmp, another name or number, or all.
    </param>
    <param optional='0' type='string' name='chain'>
    Chain: INPUT, OUTPUT, FORWARD, PREROUTING or POSTROUTING.
    </param>
    <param optional='0' type='string' name='action'>
    Action: ACCEPT, REJECT, DROP, RETURN, LOG, MASQUERADE, SNAT, DNAT or REDIRECT.
    </param>
    <param type='string' name='network'>
    Network from which packets come, or all. A host without a device on it leaves the rule out. Required unless
    output-network is given.
    </param>
    <param type='string' name='output-network'>
    Network to which packets go, or all.
    </param>
    <param type='string' name='flags'>
    Further conditions, as options of iptables: -s, -d, -i, -o, --sport, --dport, --state, --syn, --icmp-type, --limit,
    --mac-source, --src-range and their like; options of the action: --reject-with, --log-prefix, --to-source,
    --to-destination, --to-ports.
    </param>
    <param type='string' name='comment'>
    Comment, any text of one line.
    </param>
    <param type='string' name='rulesrc'>
    Who made the rule: custom or system. Default: custom.
    </param>

    <example cmd='add host firewall compute-0-0 rulename=A51-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private.
    </example>

    <related>add firewall</related>
    <related>list firewall</related>
    """  # noqa: E501 - the examples

    scope = "host"
