"""Lists of hosts for programs that reach them: OpenSSH's known hosts, hosts.equiv and tentakel's groups. Pure.

Sources: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT; hosts.equiv(5); tentakel(1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rocks.network.dns.names import NamedAddress


def names_of_hosts(addresses: Iterable[NamedAddress]) -> dict[str, list[str]]:
    """Host → all its names, then its addresses, without those of its BMC, which has another key and may be no login.

    The hosts are in the order of their first address.
    """
    names: dict[str, dict[str, None]] = {}
    numbers: dict[str, list[str]] = {}
    for one in addresses:
        if one.is_bmc:
            continue
        names.setdefault(one.host, {}).update(dict.fromkeys((*one.others, one.full_name)))
        numbers.setdefault(one.host, []).append(str(one.address))
    return {host: [*found, *dict.fromkeys(numbers[host])] for host, found in names.items()}


def known_hosts_lines(names: Mapping[str, Sequence[str]], keys: Mapping[str, Sequence[str]]) -> str:
    """A line `NAME,…,ADDRESS TYPE KEY` for each recorded key; `keys` are host → `TYPE KEY`."""
    return "".join(
        f"{','.join(of_host)} {key}\n" for host, of_host in names.items() for key in keys.get(host, ())
    )


def equivalent_hosts(names: Mapping[str, Sequence[str]]) -> str:
    """A name or address on each line."""
    return "".join(f"{name}\n" for of_host in names.values() for name in of_host)


def tentakel_configuration(members: Mapping[str, Sequence[str]]) -> str:
    """Groups of hosts by their appliances, and `default` of all groups; an appliance of that name has none."""
    groups = [name for name, hosts in members.items() if hosts and name.lower() != "default"]
    lines = ['set ssh_path="/usr/bin/ssh"', 'set method="ssh"', 'set user="root"', "", "group default ()"]
    lines += [f"  @{name}" for name in groups]
    for name in groups:
        lines += ["", f"group {name} ()", *(f"  +{host}" for host in members[name])]
    return "".join(line + "\n" for line in lines)
