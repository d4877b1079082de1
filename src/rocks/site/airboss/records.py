"""For the owners' remote control: keys by their fingerprint, the machines of a cluster, accepted requests.

Accepted nonces are forgotten by the hour that their requests state, when the requests of that hour have not
grown for 64 minutes by a clock that nobody sets; a request of a forgotten hour is refused. So no setting of
the clock lets a request pass twice. The highest time seen was refused as a bound: one request under a fast
clock would lock owners out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import UserError
from rocks.core.names import printable
from rocks.core.values import TRUE_VALUES, check_text
from rocks.database.sets import in_order
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.host_records import lock_inventory
from rocks.site.airboss.rules import HOUR_SECONDS, OLD_RSA_ATTRIBUTE, ClusterMachine, check_stored_rsa

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rocks.database.connection import Database


_SHA256 = (
    "SHA2(FROM_BASE64(REPLACE(REPLACE(k.Public_Key, '-----BEGIN PUBLIC KEY-----', ''),"
    " '-----END PUBLIC KEY-----', '')), 256)"
)
"""`rocks add host key` stores every key as PEM of a SubjectPublicKeyInfo. FROM_BASE64 ignores line ends."""

MAX_REMOVED = 100_000


class OwnerKey(NamedTuple):
    """A public key of the owner of a cluster: the virtual frontend, and the key as PEM."""

    cluster: str
    id: int
    pem: str


def keys_by_fingerprint(database: Database, fingerprint: str) -> list[OwnerKey]:
    """One row for each virtual frontend that has the key with that SHA-256, in hexadecimal."""
    rows = database.rows(
        "SELECT n.Name, k.ID, k.Public_Key FROM public_keys k JOIN nodes n ON n.ID = k.Node"
        " JOIN vm_nodes v ON v.Node = n.ID JOIN memberships m ON m.ID = n.Membership AND m.Name = 'Frontend'"
        f" WHERE {_SHA256} = %s ORDER BY k.ID",
        (fingerprint,),
    )
    return [OwnerKey(str(name), int(number), str(pem)) for name, number, pem in rows]


def take_nonce(database: Database, nonce: str, stated: int) -> bool:
    """Record an accepted request, which states that time; False when it was recorded before.

    Of two at once, one gets True.
    It may have been forgotten with its hour: ask `is_past_hour` afterwards, in the same transaction.
    """
    return bool(
        database.execute("INSERT IGNORE INTO airboss_nonces (Nonce, Stated) VALUES (%s, %s)", (nonce, stated))
    )


def is_past_hour(database: Database, hour: int) -> bool:
    """Whether requests of the hour (since 1970) may be forgotten already, so that none is accepted any more."""
    # locked: another service may be about to commit it
    return bool(database.rows("SELECT 1 FROM airboss_past_hours WHERE Hour = %s LOCK IN SHARE MODE", (hour,)))


def nonces_of_hours(database: Database) -> dict[int, tuple[int, bool]]:
    """Hour → (number of its recorded requests, whether it is past)."""
    rows = database.rows(
        "SELECT n.Hour, n.Requests, p.Hour IS NOT NULL FROM"
        f" (SELECT Stated DIV {HOUR_SECONDS} Hour, COUNT(*) Requests FROM airboss_nonces GROUP BY 1) n"
        " LEFT JOIN airboss_past_hours p ON p.Hour = n.Hour"
    )
    return {int(hour): (int(count), bool(is_past)) for hour, count, is_past in rows}


def forget_hours(database: Database, hours: Iterable[int]) -> bool:
    """Accept no request of these hours any more, and forget those that were recorded; whether some are left.

    Many are forgotten in parts.
    """
    past = [(hour,) for hour in sorted(hours)]
    database.insert_many("INSERT IGNORE INTO airboss_past_hours (Hour) VALUES", past)
    count = database.execute(
        f"DELETE FROM airboss_nonces WHERE {' OR '.join(['Stated BETWEEN %s AND %s'] * len(past))}"
        f" LIMIT {MAX_REMOVED}",
        [bound for (hour,) in past for bound in (hour * HOUR_SECONDS, (hour + 1) * HOUR_SECONDS - 1)],
    )
    return count == MAX_REMOVED


def machines_of(database: Database, cluster: str) -> list[ClusterMachine]:
    """The machines of a virtual frontend's cluster, itself included, in the database's order.

    Not those that are in another cluster, too: their power is the operators' affair.
    """
    rows = database.rows(
        "SELECT n.Name, i.MAC FROM nodes n JOIN ("
        "SELECT c.node_name FROM clusters c WHERE c.node_name IN"
        " (SELECT o.node_name FROM clusters o WHERE o.cluster_name = %s)"
        " GROUP BY c.node_name HAVING COUNT(DISTINCT c.cluster_name) = 1"
        ") own ON own.node_name = n.Name"
        " LEFT JOIN networks i ON i.Node = n.ID AND i.MAC IS NOT NULL"
        " ORDER BY n.ID, IF(i.VlanID IN (SELECT c.vlanid FROM clusters c WHERE c.cluster_name = %s), 0, 1), i.ID",
        (cluster, cluster),
    )
    macs: dict[str, list[str]] = {}
    for name, mac in rows:
        macs.setdefault(str(name), []).extend([str(mac)] if mac else [])
    aliases = _aliases(database, cluster)
    return [ClusterMachine(name, tuple(found), tuple(aliases.get(name, ()))) for name, found in macs.items()]


def _aliases(database: Database, cluster: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, alias in database.rows(
        "SELECT DISTINCT n.Name, a.Name FROM aliases a JOIN nodes n ON n.ID = a.Node"
        " JOIN clusters c ON c.node_name = n.Name WHERE c.cluster_name = %s ORDER BY a.ID",
        (cluster,),
    ):
        found.setdefault(str(name), []).append(str(alias))
    return found


def first_macs(database: Database, names: Sequence[str]) -> dict[str, str]:
    """Host → its first MAC address; hosts without one are omitted."""
    found: dict[str, str] = {}
    for name, mac in database.rows(
        "SELECT n.Name, i.MAC FROM nodes n JOIN networks i ON i.Node = n.ID"
        " WHERE i.MAC IS NOT NULL AND n.Name IN %s ORDER BY i.ID",
        [names],
    ):
        found.setdefault(str(name), str(mac))
    return found


# Rows of `public_keys`: the keys whose owners may control the virtual cluster of a frontend.


class HostKey(NamedTuple):
    """A public key of a host, in PEM."""

    host: str
    id: int
    key: str
    description: str | None


def list_keys(database: Database, names: Sequence[str]) -> list[HostKey]:
    """The keys of the named hosts, in their order, then by ID."""
    rows = database.rows(
        "SELECT n.Name, k.ID, COALESCE(k.Public_Key, ''), k.Description FROM public_keys k"
        " JOIN nodes n ON n.ID = k.Node WHERE n.Name IN %s ORDER BY k.ID",
        [names],
    )
    return [HostKey(*row) for row in in_order(rows, names)]


def insert_key(database: Database, host: str, key: str, description: str | None) -> None:
    """Add a key to a host."""
    database.execute(
        "INSERT INTO public_keys (Node, Public_Key, Description) SELECT ID, %s, %s FROM nodes WHERE Name = %s",
        (key, description, host),
    )


def delete_key(database: Database, host: str, number: int) -> int:
    """Remove the key of that ID from a host; returns how many were removed, 0 or 1."""
    return database.execute(
        "DELETE k FROM public_keys k JOIN nodes n ON n.ID = k.Node WHERE n.Name = %s AND k.ID = %s",
        (host, number),
    )


# Add and remove public keys of hosts.


_LONGEST = 4096
"""Characters of a key and of its description: the columns' size."""
_LONGEST_FILE_BYTES = 64 << 10


def add_key(database: Database, host: str, given: str, description: str | None) -> str | None:
    """Add a public key, given as its text or as the path of a file, to a host; returns a warning for a weak one.

    UserError, and no change, for a text that is no key, a file that cannot be read, a key that is too weak, and one
    that the host has.
    """
    from rocks.site.airboss.keys import rsa_bits, to_pem  # their libraries take 0.1 s to load

    key = to_pem(_text(given))
    if len(key) > _LONGEST:
        raise UserError(f"the public key has {len(key)} characters, at most {_LONGEST} are stored")
    check_text("description", description or "", _LONGEST)
    bits = rsa_bits(key)
    warning = None if bits is None else check_stored_rsa(host, bits, allows_old_rsa(database, host))
    lock_inventory(database)
    if any(one.key.strip() == key.strip() for one in list_keys(database, [host])):
        raise UserError(f"the public key already exists for host {host}; rocks list host key {host} shows it")
    insert_key(database, host, key, description or None)
    return warning


def allows_old_rsa(database: Database, host: str) -> bool:
    """Whether the owner of the virtual frontend may have an RSA key that is short by today's measure."""
    value = resolve_attribute(database, OLD_RSA_ATTRIBUTE, [host]).get(host, "")
    return value.lower() in TRUE_VALUES


def remove_key(database: Database, host: str, number: int) -> None:
    """Remove the key of that ID. UserError when the host has none of that ID."""
    if not delete_key(database, host, number):
        raise UserError(
            f"public key with id {number} doesn't exist for host {host}; rocks list host key {host} shows all"
        )


def _text(given: str) -> str:
    """The text itself when it looks like a key, else the content of the file."""
    if given.lstrip().startswith(("-----BEGIN", "ssh-", "ecdsa-")):
        return given
    path = Path(given)
    try:
        if not path.is_file():
            raise UserError(
                f"there is no file {printable(given)}; key= is a public key or the path of a file with one"
            )
        with path.open("rb") as file:
            return file.read(_LONGEST_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {printable(given)}: {reason}") from None
