"""`rocks add firewall`"""

from rocks.commands._shared.firewall import FirewallCommand


class Command(FirewallCommand):
    """
    Add a firewall rule for all hosts, or for those of one operating system, one appliance, or by name. The command
    fails if the scope has a rule of this name. The rule is in force on hosts with the attribute firewall after
    rocks sync host firewall, or their profile.

    <arg optional='1' type='string' name='scope' default='global' values='global'>
    The word global.
    </arg>
    <param type='string' name='global' default='global' values='global'>
    Scope of all hosts: global=global. Like os, appliance and host it must be the first parameter.
    </param>
    <param type='string' name='os' default='none'>
    Scope of an operating system: os=linux.
    </param>
    <param type='string' name='appliance' default='none'>
    Scope of an appliance: appliance=compute.
    </param>
    <param type='string' name='host' default='none'>
    Scope of hosts, by name or any other selector: host=compute-0-0.
    </param>
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
    <param optional='0' type='string' name='chain' values='INPUT,OUTPUT,FORWARD,PREROUTING,POSTROUTING'>
    Chain: INPUT, OUTPUT, FORWARD, PREROUTING or POSTROUTING.
    </param>
    <param optional='0' type='string' name='action'
    values='ACCEPT,REJECT,DROP,RETURN,LOG,MASQUERADE,SNAT,DNAT,REDIRECT'>
    Action: ACCEPT, REJECT, DROP, RETURN, LOG, MASQUERADE, SNAT, DNAT or REDIRECT.
    </param>
    <param type='string' name='network' default='all'>
    Network from which packets come, or all. A host without a device on it leaves the rule out. Of network and
    output-network, one must be given.
    </param>
    <param type='string' name='output-network' default='all'>
    Network to which packets go, or all.
    </param>
    <param type='string' name='flags' default='none'>
    Further conditions, as options of iptables: -s, -d, -i, -o, --sport, --dport, --state, --syn, --icmp-type, --limit,
    --mac-source, --src-range and their like; options of the action: --reject-with, --log-prefix, --to-source,
    --to-destination, --to-ports. In a value, &amp;NAME; stands for the attribute NAME of the host.
    </param>
    <param type='string' name='comment' default='none'>
    Comment, any text of one line.
    </param>
    <param type='string' name='rulesrc' values='custom,system' default='custom'>
    Who made the rule: custom or system.
    </param>

    <example cmd='add firewall rulename=A50-NTP service=123 protocol=udp chain=INPUT action=ACCEPT network=private'>
    Accept time requests from the network private on all hosts.
    </example>
    <example cmd='add firewall appliance=login rulename=A50-WEB service=443 protocol=tcp chain=INPUT action=ACCEPT network=public flags="-s 203.0.113.0/24"'>
    Accept HTTPS from one network of the site on login nodes.
    </example>
    <example cmd='add firewall appliance=frontend rulename=A60-MASQUERADE service=nat protocol=all chain=POSTROUTING action=MASQUERADE output-network=public'>
    The frontend gives its public address to what hosts send to the outside.
    </example>

    <related>list firewall</related>
    <related>remove firewall</related>
    <related>sync host firewall</related>
    """  # noqa: E501 - the examples

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Add the rule to all members of the scope at once."""
        from rocks.network.firewall.changes import add_rule
        from rocks.network.firewall.rules import read_rule

        scope, members = self.named_members(args)
        add_rule(self.db, read_rule(self._parameters, scope), members)
