"""Dumps of Rocks frontends for tests, made by the grammar of Rocks' dump commands.

No dump of a real site was at hand. The sites are made up: a frontend, computes, VM containers, a NAS, a login node, a
switch, a virtual cluster, and the attributes, routes and firewall rules that such a site has.
"""

from collections.abc import Iterator

LAUNCHER = "/opt/rocks/bin/rocks"
_PLAIN = "@%^-_=+:,./"
ROOT_PASSWORD = "$1$saltsalt$0123456789abcdefghijkl"  # noqa: S105 - of nobody
KEY = (
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCufWKHdMifnYaWbcdgqYk1BGaa\n"
    "a//b9sLDgHip5rIAXHRokTqhKrlVuHPgHQFKcPjBN1qBIBvrfYVBpHtdPYFZeWw0\n"
    "fHPtK0Cv5+yi1wgwb3Uc7odJBspmHPtx+hNk15Z44wM1L+Dg8d6gWGj+qrKCfty/\n"
    "+LP2V8EZp52dCxd/SQIDAQAB\n"
    "-----END PUBLIC KEY-----\n"
)
"""A public key of 1024 bits, as owners of virtual clusters on Rocks sites have them."""


def quoted(text: str) -> str:
    """As the original quotes a value: a backslash before each character that is not plain."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"\\{c}" for c in text)


def rocks(*texts: str) -> str:
    return f"{LAUNCHER} {' '.join(texts)}"


def rocks_dump(release: int, computes: int, containers: int = 4) -> str:
    """The dump of a site of Rocks 6.2 (6) or 7; 10 further lines have what this system takes differently or not."""
    parts = (
        _networks(),
        _appliances(),
        _attributes(release),
        _hosts(release, computes, containers),
        _interfaces(release, computes, containers),
        _machines(containers),
        _of_hosts(release, computes),
        _firewall(),
    )
    lines = [line for part in parts for line in part]
    return "\n".join([*lines, rocks("run", "reconfigure", "clear=1"), ""])


def _networks() -> Iterator[str]:
    yield rocks("add", "network", "private", "subnet=10.1.0.0", "netmask=255.255.0.0", "mtu=1500")
    yield rocks("add", "network", "public", "subnet=203.0.113.0", "netmask=255.255.255.0", "mtu=1500")
    yield rocks("add", "network", "ipmi", "subnet=10.4.0.0", "netmask=255.255.0.0", "mtu=1500")
    yield rocks("add", "network", "optiputer", "subnet=192.168.1.0", "netmask=255.255.255.0", "mtu=9000")


def _appliances() -> Iterator[str]:
    for name, membership, node, public in (
        ("frontend", "Frontend", "server", "no"),
        ("compute", "Compute", "compute", "yes"),
        ("nas", r"NAS\ Appliance", "nas", "yes"),
        ("network", r"Ethernet\ Switch", "", "yes"),
        ("power", r"Power\ Distribution\ Unit", "", "yes"),
        ("login", "Login", "login", "yes"),
        ("vm-container", r"VM\ Container", "client", "yes"),
        ("hosted-vm", r"Hosted\ VM", "", "no"),
        ("tile", r"Viz\ Tile", "viz-tile", "yes"),
    ):
        nodes = [f"node={node}"] if node else []
        given = (f"membership={membership}", *nodes, "graph=default", f"public={public}")
        yield rocks("add", "appliance", name, *given, "os=linux")
    for name in ("compute", "nas", "vm-container"):
        yield rocks("add", "appliance", "attr", name, "managed", "true")
    yield rocks("add", "appliance", "attr", "vm-container", "kvm", "true")
    yield rocks("add", "appliance", "attr", "tile", "kickstartable", "yes")
    yield rocks("add", "appliance", "attr", "tile", "dhcp_filename", "pxelinux.0")
    yield rocks("add", "appliance", "attr", "compute", "sge_exec", "true")
    yield rocks("add", "appliance", "attr", "login", "submit_host", "true")
    yield rocks("add", "appliance", "route", "tile", "192.168.2.0", "10.1.1.9", "netmask=255.255.255.0")


def _attributes(release: int) -> Iterator[str]:
    version = "6.2" if release == 6 else "7.0"
    values = {
        "Info_ClusterName": "Widget cluster (physics)",
        "Info_ClusterLatlong": "N32.87 W117.22",
        "Info_CertificateOrganization": "Institute of Widgets & Co.",
        "Kickstart_Lang": "en_US",
        "Kickstart_Timezone": "America/Los_Angeles",
        "Kickstart_PrivateRootPassword": ROOT_PASSWORD,
        "Kickstart_PrivateDNSDomain": "local",
        "rocks_version": version,
        "cpu_mode": "host-model",
        "site_note": 'it\'s "odd"; $(id) `id` a=b',
        "batch": "key=value",
        "max_parallel_proc": "16",
        "ssh_use_dns": "no",
    }
    for name, value in values.items():
        yield rocks("add", "attr", name, quoted(value))
    yield rocks("add", "os", "attr", "linux", "RootDir", "/root")
    yield rocks("add", "os", "attr", "linux", "HttpConf", "/etc/httpd/conf")
    yield rocks("add", "os", "attr", "sunos", "site_os_note", r"none\ left")
    yield rocks("add", "route", "224.0.0.0", "private", "netmask=255.255.255.0")
    yield rocks("add", "route", "0.0.0.0", "10.1.1.1", "netmask=0.0.0.0")
    yield rocks("add", "os", "route", "linux", "198.51.100.0", "10.1.1.8", "netmask=255.255.255.0")


def _names(computes: int, containers: int) -> Iterator[tuple[str, str, int, int]]:
    """(name, membership, rack, rank)"""
    for number in range(computes):
        yield f"compute-{number // 20}-{number % 20}", "Compute", number // 20, number % 20
    for number in range(containers):
        yield f"vm-container-0-{number}", r"VM\ Container", 0, number
    yield "nas-0-0", r"NAS\ Appliance", 0, 0
    yield "login-0-0", "Login", 0, 0
    yield "network-0-0", r"Ethernet\ Switch", 0, 0


def _hosts(release: int, computes: int, containers: int) -> Iterator[str]:
    virtual = [("fe-blue", "Frontend", 0, 0)]
    virtual += [(f"hosted-vm-0-{number}-0", r"Hosted\ VM", 0, number) for number in range(containers)]
    install = "install" if release == 6 else r"install\ notracker"
    for name, membership, rack, rank in (*_names(computes, containers), *virtual):
        yield (
            f'{LAUNCHER} "add host" {name} cpus={8 if name.startswith("compute") else 2} rack={rack} rank={rank} '
            f"membership={membership} os=linux"
        )
        yield rocks("set", "host", "runaction", name, "action=none" if "hosted" in name else "action=os")
        recipe = r"install\ vm\ frontend" if name == "fe-blue" else install
        yield rocks("set", "host", "installaction", name, f"action={recipe}")


def _interfaces(release: int, computes: int, containers: int) -> Iterator[str]:
    device = "eth0" if release == 6 else "eno1"

    def values(host: str, iface: str, given: dict[str, str]) -> Iterator[str]:
        yield rocks("add", "host", "interface", host, iface)
        for name, value in given.items():
            yield rocks("set", "host", "interface", name, host, iface, quoted(value))

    for number, (name, *_) in enumerate(_names(computes, containers)):
        given = {"ip": f"10.1.254.{number + 1}", "name": name, "mac": f"00:25:90:00:00:{number:02x}"}
        yield from values(name, device, given | {"module": "igb", "subnet": "private"})
        if name.startswith("compute"):
            mac = f"00:25:90:00:01:{number:02x}"
            given = {"ip": f"10.4.254.{number + 1}", "name": f"{name}-ipmi", "mac": mac, "subnet": "ipmi"}
            yield from values(name, "ipmi", given | {"channel": "1"})
        if name.startswith("vm-container"):
            yield from values(name, "vlan3", {"subnet": "private", "vlan": "3"})
    private = {"ip": "10.1.255.200", "name": "fe-blue", "mac": "76:77:6e:80:00:00", "subnet": "private"}
    yield from values("fe-blue", "eth0", private | {"vlan": "3"})
    public = {"ip": "203.0.113.9", "name": "fe-blue", "mac": "76:77:6e:80:00:01", "subnet": "public"}
    yield from values("fe-blue", "eth1", public | {"options": "onboot=yes noreport"})
    for number in range(containers):
        mac = f"76:77:6e:80:01:{number:02x}"
        yield from values(f"hosted-vm-0-{number}-0", "eth0", {"mac": mac, "vlan": "3"})


def _machines(containers: int) -> Iterator[str]:
    folder = "/state/partition1/kvm/disks"
    for place, name in (
        ("localhost", "fe-blue"),
        *((f"vm-container-0-{number}", f"hosted-vm-0-{number}-0") for number in range(containers)),
    ):
        given = (
            f"physnode='{place}'",
            f"disk='file:{folder}/{name}.vda,vda,virtio file:{folder}/{name}.vdb,vdb,virtio'",
            "disksize='36 100'",
            "mem='2048'",
            "slice='0'",
            "virt-type='hvm'",
        )
        yield rocks("set", "host", "vm", name, *given)


def _of_hosts(release: int, computes: int) -> Iterator[str]:
    yield rocks("add", "host", "attr", "localhost", "kvm", "true")
    yield rocks("add", "host", "attr", "localhost", "airboss", "localhost")
    yield rocks("add", "host", "attr", "compute-0-0", "rack_note", quoted("moved; see #12 (2014)"))
    yield rocks("add", "host", "attr", "compute-0-1", "ipmi_uid", "root")
    yield rocks("add", "host", "attr", "compute-0-1", "ipmi_password", "calvin")
    if release == 7:
        yield rocks("add", "host", "attr", "fe-blue", "UseTracker", "False")
    yield rocks("add", "host", "route", "localhost", "0.0.0.0", "203.0.113.1", "netmask=0.0.0.0")
    yield rocks("add", "host", "route", "compute-0-0", "192.168.7.0", "10.1.1.7", "netmask=255.255.255.0")
    yield rocks("add", "host", "key", "fe-blue", f'key="{KEY}"')
    for number in range(computes):
        yield rocks("set", "host", "boot", f"compute-{number // 20}-{number % 20}", "action=os")
    yield rocks("set", "host", "boot", "fe-blue", "action=os")
    version = "6.2" if release == 6 else "7.0"
    yield rocks("add", "host", "roll", "fe-blue", "kvm", f"version={version}", "arch=x86_64")


def _firewall() -> Iterator[str]:
    def rule(scope: str, name: str, **given: str) -> str:
        values = (f"{key}={quoted(value)}" for key, value in given.items())
        return rocks("add", "firewall", scope, f"rulename={name}", *values)

    known = {"network": "private", "chain": "INPUT", "action": "ACCEPT", "protocol": "tcp"}
    related = {"network": "public", "chain": "INPUT", "action": "ACCEPT", "protocol": "all", "service": "all"}
    yield rule("global=global", "A30-RELATED", **related, flags="-m state --state RELATED,ESTABLISHED")
    yield rule("appliance=login", "A40-WEB", **known, service="https", comment="it's the portal's; see (12)")
    yield rule("host=compute-0-0", "A41-DB", **known, service="3306")
    yield rule("host=localhost", "A42-LICENSE", **known, service="27000:27010")


def unusual(trace: str) -> list[str]:
    """Lines of other rolls, and what an attacker or a careless person wrote; `trace`: a file to make."""
    return [
        rocks("add", "distribution", "rocks-testing"),
        rocks("add", "bootaction", "action=memtest", "kernel=memtest86", r"args=a=b\ c"),
        rocks("add", "host", "alias", "compute-0-0", "c00"),
        rocks(
            *[
                "add",
                "host",
                "partition",
                "compute-0-0",
                "device=sda1",
                "mountpoint=/state/partition1",
                "size=9MB",
            ]
        ),
        rocks("add", "roll", "/root/kvm.iso"),
        rocks("add", "sge", "queue", "all.q"),
        rocks("set", "host", "sec_attr", "compute-0-0", "attr=snmp_community", "value=public"),
        rocks("remove", "host", "compute-0-0"),
        rocks("add", "host", "attr", "%", "note", "all"),
        rocks("add", "host", "attr", "select\\ name\\ from\\ nodes", "note", "all"),
        rocks("add", "host", "key", "fe-blue", "key=/etc/shadow"),
        rocks("run", "host", "compute-0-0", f"touch\\ {trace}"),
        f"{rocks('list', 'host')}; touch {trace}",
        rocks("add", "attr", "note", f"$(touch {trace})"),
        rocks("add", "attr", "note", f'"`touch {trace}`"'),
        f"touch {trace}",
        f"{rocks('add', 'attr', 'note', 'x')} >{trace}",
    ]


NOT_TAKEN = 13
"""How many of the unusual lines are not taken over: all but the first four."""
