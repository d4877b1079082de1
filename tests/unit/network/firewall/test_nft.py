"""Options of iptables as matches of nft, and what is refused."""

import pytest

from rocks.core.errors import UserError
from rocks.network.firewall.nft import NftFlags, references, translate_flags, with_values

PORTS = {("ssh", "tcp"): 22, ("domain", "udp"): 53}


def port_of(name: str, protocol: str) -> int | None:
    return PORTS.get((name, protocol))


def translated(flags: str, protocol: str = "tcp", action: str = "ACCEPT") -> NftFlags:
    return translate_flags(flags, protocol, action, port_of)


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ("-s 10.0.0.0/8", "ip saddr { 10.0.0.0/8 }"),
        ("--source 10.1.2.3/255.255.0.0", "ip saddr { 10.1.0.0/16 }"),
        ("-s 10.0.0.0/9,10.128.0.0/9", "ip saddr { 10.0.0.0/8 }"),
        ("! -d 192.0.2.1", "ip daddr != { 192.0.2.1/32 }"),
        ("-d ! 192.0.2.1", "ip daddr != { 192.0.2.1/32 }"),
        ("--src 2001:db8::/32", "ip6 saddr { 2001:db8::/32 }"),
        ("-i lo", 'iifname "lo"'),
        ("-o eth+", 'oifname "eth*"'),
        ("-m state --state NEW,ESTABLISHED", "ct state { new, established }"),
        ("-m conntrack ! --ctstate=INVALID", "ct state != { invalid }"),
        ("--dport ssh", "tcp dport 22"),
        ("-m multiport --dports 80:90,443,85:95", "tcp dport { 80-95, 443 }"),
        ("! --sport 1024:65535", "tcp sport != 1024-65535"),
        ("--syn", "tcp flags & (fin|syn|rst|ack) == syn"),
        ("! --syn", "tcp flags & (fin|syn|rst|ack) != syn"),
        ("--tcp-flags SYN,RST NONE", "tcp flags & (syn|rst) == 0x0"),
        ("-m mac --mac-source 00:AA:22:33:44:55", "ether saddr 00:aa:22:33:44:55"),
        ("-m iprange --src-range 10.0.0.1-10.0.0.9", "ip saddr 10.0.0.1-10.0.0.9"),
        ("-m limit --limit 5/min --limit-burst 7", "limit rate 5/minute burst 7 packets"),
        ("--limit 5/min -m limit", "limit rate 5/minute burst 5 packets"),
        ("-m limit", "limit rate 3/hour burst 5 packets"),
        ("--match=limit --limit-burst 9", "limit rate 3/hour burst 9 packets"),
    ],
)
def test_a_match(flags: str, match: str) -> None:
    assert translated(flags) == NftFlags((match,), {})


def test_matches_of_other_protocols() -> None:
    assert translated("--sport domain", "udp").matches == ("udp sport 53",)
    assert translated("--icmp-type ping", "icmp").matches == ("icmp type 8",)
    assert translated("--icmp-type 3/4", "icmp").matches == ("icmp type 3 icmp code 4",)
    assert translated("--icmp-type any", "icmp").matches == ()


def test_a_comment_among_the_flags_changes_nothing() -> None:
    assert translated("-m comment --comment 'x\" accept; # y' -i lo").matches == ('iifname "lo"',)


@pytest.mark.parametrize(
    ("flags", "protocol", "action", "target"),
    [
        ("--reject-with icmp-host-prohibited", "all", "REJECT", "icmpx admin-prohibited"),
        ("--reject-with tcp-reset", "tcp", "REJECT", "tcp reset"),
        ("--log-prefix 'drop: '", "all", "LOG", "drop: "),
        ("--log-level 4", "all", "LOG", "warn"),
        ("--to-source 192.0.2.7-192.0.2.9", "all", "SNAT", "192.0.2.7-192.0.2.9"),
        ("--to-destination 10.1.1.5:8080", "tcp", "DNAT", "10.1.1.5:8080"),
        ("--to-ports 8080-8090", "tcp", "REDIRECT", ":8080-8090"),
    ],
)
def test_an_option_of_the_action(flags: str, protocol: str, action: str, target: str) -> None:
    assert list(translated(flags, protocol, action).target.values()) == [target]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("-m recent --set", 'the module "recent" is not known'),
        ("--uid-owner 0", '"--uid-owner" is not known'),
        ("accept", '"accept" is not known'),
        ("-j DROP", "-j is given by the parameter action="),
        ("-p udp", "-p is given by the parameter protocol="),
        ("-A INPUT", "-A is given by the parameter chain="),
        ("-s", "-s needs a value"),
        ("-s 'x", "cannot be read"),
        ("!", "! stands before an option"),
        ("! ! -i lo", "! stands before an option"),
        ("! --limit 1/s", "! does not go with --limit"),
        ("-s example.org", '"example.org" is not valid for -s'),
        ("-s 10.0.0.0/33", '"10.0.0.0/33" is not valid for -s'),
        ("-s 10.0.0.1,2001:db8::1", "addresses of IPv4 only"),
        ("-s 'fe80::1%a\" accept; #'", "is not valid for -s"),
        ("-s ''", "is not valid for -s"),
        ("-i 'lo\" accept; #'", "it must be a network device"),
        ("-i '*'", "it must be a network device"),
        ("-i 'lo\n accept'", "it must be a network device"),
        ("--dport 70000", 'port "70000" is not valid'),
        ("--dport 90:80", "the first is higher"),
        ("--dport nothing", 'service "nothing" is not known for tcp'),
        ("--dport '22; accept'", 'service "22; accept" is not known'),
        ("--dport ٢٢", "is not valid"),
        ("--state OPEN", '"OPEN" is not valid for --state'),
        ("--tcp-flags SYN", "--tcp-flags needs a value"),
        ("--tcp-flags SYN,X SYN", "is not valid for --tcp-flags"),
        ("--tcp-flags NONE SYN", "the first of which is not empty"),
        ("--icmp-type 8", "--icmp-type needs protocol=icmp"),
        ("--mac-source 1:2", "it must be a MAC address"),
        ("--src-range 10.0.0.9-10.0.0.1", "the lower one first"),
        ("--limit 0/s", "a rate such as 5/minute"),
        ("--log-prefix x", "--log-prefix does not belong to the action ACCEPT"),
    ],
)
def test_what_is_refused(flags: str, message: str) -> None:
    with pytest.raises(UserError, match="flags|service|port") as caught:
        translated(flags)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "protocol", "action", "message"),
    [
        ("", "all", "SNAT", "SNAT needs flags with --to-source"),
        ("", "tcp", "DNAT", "DNAT needs flags with --to-destination"),
        ("--to-source 2001:db8::1", "all", "SNAT", "an address of IPv4"),
        ("--to-source 10.0.0.1:80", "all", "SNAT", "protocol must be tcp"),
        ("--reject-with tcp-reset", "udp", "REJECT", "needs protocol=tcp"),
        ("--reject-with nothing", "all", "REJECT", "one of icmp-net-unreachable"),
        ("--log-prefix '$x\"'", "all", "LOG", "1 to 29 letters"),
        ("--dport 22", "all", "ACCEPT", "--dport has ports: protocol must be tcp"),
        ("--dport 22", "icmp", "ACCEPT", "--dport has ports: protocol must be tcp"),
    ],
)
def test_what_does_not_go_together(flags: str, protocol: str, action: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        translated(flags, protocol, action)
    assert message in str(caught.value)


def test_attributes_stand_for_their_values() -> None:
    flags = "-m state --state NEW --source &Kickstart_PublicNetwork;/&Kickstart_PublicNetmask; --dport &port;"
    values = {
        "Kickstart_PublicNetwork": "203.0.113.0",
        "Kickstart_PublicNetmask": "255.255.255.0",
        "port": "80,443",
    }
    assert references(flags) == ["Kickstart_PublicNetwork", "Kickstart_PublicNetmask", "port"]
    found = translated(with_values(flags, values, "web")).matches
    assert found == ("ct state { new }", "ip saddr { 203.0.113.0/24 }", "tcp dport { 80, 443 }")
    assert references("--log-prefix 'a & b;'") == []


@pytest.mark.parametrize("value", ["", "10.0.0.1 -j ACCEPT", "'", "a\n", '"', "a;b", "&other;", "\\"])
def test_a_value_is_never_more_than_a_part_of_a_word(value: str) -> None:
    with pytest.raises(
        UserError, match="^the attribute home of host web has .*: rocks set host attr web home VALUE$"
    ) as caught:
        with_values("-s &home;", {"home": value}, "web")
    assert "\n" not in str(caught.value)
