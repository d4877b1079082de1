"""A site with the owners' service, and two owners with their keys."""

import base64
import json
import os
import socket
import ssl
import subprocess  # noqa: TID251 - the owner's program runs as a process
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rocks.fleet.https.server import HttpsServer
from rocks.site.airboss import client
from rocks.site.airboss.service import OwnerCall, OwnerService
from rocks.site.airboss.wire import SIGNED_PREFIX
from tests.system.commands.conftest import Site

CHECKOUT = Path(__file__).parents[4]


PROGRAM = CHECKOUT / "src/rocks/site/airboss/client.py"


SWITCH = """#!/bin/sh
echo "$@" >>{record}
case "$*" in *broken*) echo "Error: a device of another machine" >&2; exit 1;; esac
case "$*" in *install*) echo "Error: $4: secret of the site" >&2; exit 3;; esac
"""


class Service:
    """A service that runs, what it logged and recorded, and the owners' settings for it."""

    def __init__(self, server: HttpsServer, folder: Path, site: Site) -> None:
        self.server, self.folder, self.site = server, folder, site
        self.port = int(server.server_address[1])
        self.log: list[str] = []
        self.calls: list[tuple[OwnerCall, str]] = []

    def settings(self, cluster: str = "one", key: str = "one.key") -> client.Settings:
        """What an owner has in the settings of the program."""
        authority = str(self.folder / "authority/ca.crt")
        return client.Settings("127.0.0.1", self.port, "head", cluster, authority, str(self.folder / key))

    def ask(
        self, operation: str, cluster: str = "one", key: str = "one.key", **fields: object
    ) -> dict[str, Any]:
        """The answer to a request of an owner; AirbossError for one that is refused."""
        settings = self.settings(cluster, key)
        return client.ask(settings, client.open_key(settings.key), operation, **fields)

    def program(
        self, *arguments: str, cluster: str = "one", key: str = "one.key"
    ) -> subprocess.CompletedProcess[str]:
        """Run the owner's program, with nothing of ours in its path."""
        own = self.settings(cluster, key)
        given = [f"{name}={getattr(own, name)}" for name in ("name", "cluster", "authority", "key")]
        return subprocess.run(
            [
                "/usr/bin/env",
                "-i",
                "PATH=/usr/bin:/bin",
                "HOME=/nowhere",
                "python3",
                "-I",
                PROGRAM,
                *arguments,
            ]
            + [f"server=127.0.0.1:{self.port}", *given],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def another(self) -> OwnerService:
        """A service of the same site that no socket leads to, as after a new start."""
        return OwnerService(self.site.database.settings, "head", "/bin/true", self.log.append)

    def raw(self, data: bytes) -> tuple[int, str]:
        """Status and text of the answer to any bytes; 0 without one."""
        context = ssl.create_default_context(cafile=str(self.folder / "authority/ca.crt"))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="head") as connection,
        ):
            try:
                connection.sendall(data)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:
                return 0, ""
        head, _, body = answer.partition(b"\r\n\r\n")
        return (int(head.split()[1]), body.decode()) if head.startswith(b"HTTP/") else (0, "")

    def post(self, body: bytes) -> tuple[int, str]:
        """Status and text of the answer to a body, whatever it is."""
        return self.raw(b"POST /airboss HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def signed(self, document: object, key: str = "one.key") -> bytes:
        """A body with a document, JSON or bytes, and the signature of a key."""
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        opened = client.open_key(str(self.folder / key))
        signature = base64.b64encode(client.sign(opened, SIGNED_PREFIX + data))
        return b"rocks-airboss-1 " + opened.fingerprint.encode() + b" " + signature + b"\n" + data

    def document(self, **fields: object) -> dict[str, object]:
        """A document that would be accepted, with other fields."""
        return {
            "service": "head",
            "cluster": "one",
            "time": int(time.time()),
            "nonce": os.urandom(16).hex(),
            "operation": "list macs",
            "hosts": [],
            "action": "",
            "status": False,
        } | fields

    @property
    def outcomes(self) -> list[str]:
        return [outcome for _, outcome in self.calls]


def add_clusters(site: Site, folder: Path, keys: dict[str, str]) -> None:
    """Clusters `one` and `two`, each with two computes and the key of its owner."""
    for path in keys:
        (folder / Path(path).name).symlink_to(path)
    for number, (name, public) in enumerate(zip(("one", "two"), keys.values(), strict=True)):
        site.done(
            f"add cluster 203.0.113.{10 + number} 2 fe-name={name} container-hosts=vmc-0-0"
            " fe-container=vmc-0-1 cluster-naming=yes"
        )
        site.done("add host key", name, f"key={public}")


def refused(ask: Callable[[], object]) -> str:
    """Why an owner's request was refused."""
    with pytest.raises(client.AirbossError) as error:
        ask()
    return str(error.value)
