"""What `rocks` inside a virtual cluster asks of the site's frontend, for the owner of a key."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rocks.core import dry_run
from rocks.core.errors import HostError, StateError, UserError
from rocks.inventory.attributes.records import resolve_attribute
from rocks.inventory.host_records import expand_selectors, find_local_host
from rocks.inventory.mac_pool import mac_number
from rocks.site.airboss import client
from rocks.site.airboss.records import first_macs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rocks.database.connection import Database

ATTRIBUTE = "airboss"


def create_key(path: str, kind: str, with_passphrase: bool) -> str:
    """Make a private key in a new file; returns the public key, PEM. UserError when the file exists already."""
    try:
        return client.create_key(path, kind, with_passphrase)
    except client.AirbossError as error:
        raise UserError(str(error)) from None


def list_macs(
    database: Database, cluster: str, key: str | None, with_status: bool
) -> list[tuple[str, str, str]]:
    """(MAC address, state, names separated by commas) of each machine of the cluster, as the site answers."""
    settings = _settings(database, key, cluster)
    with _explained():
        return client.machine_rows(
            client.ask(settings, client.open_key(settings.key), client.LIST_MACS, status=with_status)
        )


def switch_machines(
    database: Database, hosts: Sequence[str], action: str, key: str, notify: Callable[[str], None]
) -> int:
    """Switch machines of the own cluster by the site's frontend; returns the exit status.

    A host that this machine's database knows is named by its first MAC address: the site may know it by another name.
    """
    settings = _settings(database, key, None)
    macs = site_names(database, hosts)
    database.end_reading()
    if dry_run.would(settings.server, f"switch {', '.join(macs)} {action}, for the owner of {settings.key}"):
        return 0
    with _explained():
        answer = client.ask(settings, client.open_key(settings.key), client.POWER, hosts=macs, action=action)
    return client.report_power(answer, notify)


def switch_cluster(
    database: Database,
    cluster: str,
    action: str,
    with_frontend: bool,
    key: str,
    notify: Callable[[str], None],
) -> int:
    """Switch all computes of the own cluster by the site's frontend, in one request; returns the exit status.

    `cluster` is the name of its frontend at the site.
    """
    settings = _settings(database, key, cluster)
    if dry_run.would(
        settings.server, f"switch the cluster {cluster} {action}, for the owner of {settings.key}"
    ):
        return 0
    with _explained():
        answer = client.switch_cluster(settings, action, with_frontend)
    return client.report_power(answer, notify)


def insert_image(
    database: Database,
    host: str,
    image: str | None,
    path: str | None,
    boot: str | None,
    key: str,
    notify: Callable[[str], None],
) -> int:
    """Have the site insert one of its ISOs into the drive of a machine of the own cluster; returns the exit status."""
    try:
        iso = client.read_image(image, path)
    except client.AirbossError as error:
        raise UserError(str(error)) from None
    settings = _settings(database, key, None)
    found = site_names(database, [host])
    if len(found) != 1:
        raise UserError("must supply only one host")
    database.end_reading()
    change = f"insert the CD {iso} into" if iso else "eject the CD of"
    if dry_run.would(settings.server, f"{change} {found[0]}, for the owner of {settings.key}"):
        return 0
    with _explained():
        answer = client.insert_image(settings, found[0], iso, boot)
    return client.report_power(answer, notify)


def open_owner_console(
    database: Database, host: str, key: str, is_serial: bool, notify: Callable[[str], None]
) -> None:
    """Connect the terminal to the serial console of a machine of the own cluster, or show its screen."""
    settings = _settings(database, key, None)
    (mac,) = site_names(database, [host])
    database.end_reading()
    with _explained():
        opened = client.open_key(settings.key)
        connection, first = client.open_stream(
            settings, opened, mac, client.CONSOLE if is_serial else client.SCREEN
        )
        with connection:
            if is_serial:
                notify(f"serial console of {host}; press Ctrl-] to leave it")
                client.use_terminal(connection, first)
            else:
                client.show_screen(connection, first, notify)


def site_names(database: Database, hosts: Sequence[str]) -> list[str]:
    """How the site knows the hosts: by MAC address. One that this machine does not know stays as it is.

    StateError for a host without a MAC address.
    """
    found: list[str] = []
    for host in hosts:
        if mac_number(host) is not None:
            found.append(host)
            continue
        try:
            names = expand_selectors(database, [host])
        except UserError:
            found.append(host)
            continue
        macs = first_macs(database, names)
        for name in names:
            if name not in macs:
                raise StateError(
                    f"host {name} has no MAC address: rocks set host interface mac {name} IFACE MAC"
                )
            found.append(macs[name])
    return list(dict.fromkeys(found))


def _settings(database: Database, key: str | None, cluster: str | None) -> client.Settings:
    given = {name: value for name, value in (("key", key), ("cluster", cluster)) if value}
    own = find_local_host(database)
    server = resolve_attribute(database, ATTRIBUTE, [own] if own else []).get(own or "", "")
    if server:
        given["server"] = server
    database.end_reading()
    try:
        return client.read_settings(given, known=("key",))
    except client.AirbossError as error:
        if not server and str(error).startswith("server "):
            raise StateError(
                f'the "{ATTRIBUTE}" attribute is not set; give the address of the site\'s frontend: '
                f"rocks set host attr localhost {ATTRIBUTE} ADDRESS"
            ) from None
        raise StateError(str(error)) from None


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except client.AirbossError as error:
        raise HostError(f"command failed: {error}") from None
