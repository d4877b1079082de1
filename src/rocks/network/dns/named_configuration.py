"""The configuration of BIND's name server for the site, and that of a resolver. Pure.

Sources: BIND 9 Administrator Reference Manual; resolv.conf(5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rocks.network.dns.names import Additions

MAX_SEARCHED = 6
MAX_SERVERS = 3
"""What glibc before 2.26, and glibc, read of a resolv.conf."""


_WORK_FOLDER = "/var/cache/bind"


class NameService(NamedTuple):
    """What the name server serves, to whom, and whom it asks.

    `addresses` are the frontend's own on the served networks, `clients` these networks as ADDRESS/BITS, `forwarders`
    the name servers of the site; without any, it asks the servers of the root. `zones` are (name, path of the file).
    `additions` is a file of the site to be included, if there is one. `process` is the file of named's process number.
    """

    addresses: Sequence[str]
    clients: Sequence[str]
    forwarders: Sequence[str]
    zones: Sequence[tuple[str, str]]
    additions: Additions | None
    process: str


def named_configuration(service: NameService) -> str:
    """named.conf: zones for the networks that serve DNS, and recursion for them and for this machine alone."""
    clients = _list(["127.0.0.0/8", *service.clients])
    forwarding = (
        [f"  forwarders {_list(service.forwarders)};", "  forward only;"] if service.forwarders else []
    )
    # the site's own servers validate; and they know private addresses, which empty zones would hide
    trusting = ["  dnssec-validation no;", "  empty-zones-enable no;"] if service.forwarders else []
    lines = [
        "// Written by rocks sync dns from the cluster database; changes are lost.",
        "options {",
        f'  directory "{_WORK_FOLDER}";',
        f'  pid-file "{service.process}";',
        "  session-keyfile none;",
        f"  listen-on {_list(['127.0.0.1', *service.addresses])};",
        "  listen-on-v6 { none; };",
        f"  allow-query {clients};",
        f"  allow-recursion {clients};",
        "  allow-transfer { none; };",
        *forwarding,
        *trusting,
        # names of hosts may have an underscore
        "  check-names primary ignore;",
        "  version none;",
        "};",
        "controls { };",
        *(
            f'zone "{name}" {{ type primary; file "{path}"; allow-update {{ none; }}; }};'
            for name, path in service.zones
        ),
        *([f"// SHA-256 {added.digest}", f'include "{added.path}";'] if (added := service.additions) else []),
    ]
    return "".join(line + "\n" for line in lines)


def resolver_configuration(searched: Sequence[str], servers: Sequence[str]) -> str:
    """resolv.conf: domains that are tried after a name without a dot, and the name servers."""
    lines = [f"search {' '.join(searched[:MAX_SEARCHED])}"] if searched else []
    lines += [f"nameserver {server}" for server in servers[:MAX_SERVERS]]
    return "".join(line + "\n" for line in lines)


def _list(items: Sequence[str]) -> str:
    return "{ " + "".join(f"{item}; " for item in items) + "}"
