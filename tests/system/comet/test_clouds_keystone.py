"""`cm` signs in at a real Keystone, whose catalog names stand-ins of the other services.

`KEYSTONE=FOLDER` names a virtual environment in which `pip install keystone` ran; without it the test is skipped.
"""

import json
import os
import subprocess  # noqa: TID251 - a daemon in another environment
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rocks.core.process import run_checked
from tests.servers import free_port
from tests.system.comet.openstack_server import PASSWORD, SERVICES, OpenStackServer
from tests.system.comet.test_clouds import Owner
from tests.waiting import wait_until

ENVIRONMENT = os.environ.get("KEYSTONE", "")
pytestmark = pytest.mark.skipif(not ENVIRONMENT, reason="KEYSTONE does not name an environment with Keystone")

_SETTINGS = """
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/tokens
[fernet_receipts]
key_repository = {folder}/tokens
[credential]
key_repository = {folder}/credentials
"""
_PROGRAM = """
import os, sys
os.environ["OS_KEYSTONE_CONFIG_DIR"], port = sys.argv[1:]
sys.argv = ["keystone"]
from keystone.server.wsgi import initialize_public_application
from werkzeug.serving import make_server
make_server("127.0.0.1", int(port), initialize_public_application()).serve_forever()
"""


class Keystone(NamedTuple):
    """A Keystone with the user ann and the project CH-1; `token` is ann's."""

    url: str
    token: str

    def make(self, path: str, kind: str, **values: Any) -> dict[str, Any]:
        """Add a resource of its API."""
        return dict(ask(f"{self.url}/v3/{path}", {kind: values}, self.token)[0][kind])

    def knows(self, token: str) -> bool:
        try:
            ask(f"{self.url}/v3/auth/tokens", None, self.token, token)
        except urllib.error.HTTPError:
            return False
        return True


def ask(url: str, document: Any, token: str = "", subject: str = "") -> tuple[Any, Any]:
    """The answer to a GET, or a POST of a document, and its headers."""
    headers = {"Content-Type": "application/json", "X-Auth-Token": token}
    headers |= {"X-Subject-Token": subject} if subject else {}  # Keystone looks at it wherever it is
    data = None if document is None else json.dumps(document).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60) as answer:
        return json.load(answer), answer.headers


class Cloud(OpenStackServer):
    """Other services of a cloud, which take the tokens that Keystone knows."""

    keystone: Keystone

    def is_known(self, token: str) -> bool:
        return self.keystone.knows(token)


@pytest.fixture
def keystone(tmp_path: Path) -> Iterator[Keystone]:
    folder, port = tmp_path / "keystone", free_port()
    for name in ("", "tokens", "credentials"):
        (folder / name).mkdir(mode=0o700)
    (folder / "keystone.conf").write_text(_SETTINGS.format(folder=folder))
    url = f"http://127.0.0.1:{port}"
    owner = ("--keystone-user=root", "--keystone-group=root")
    names = ("--bootstrap-username=ann", f"--bootstrap-password={PASSWORD}", "--bootstrap-project-name=CH-1")
    place = ("--bootstrap-region-id=RegionOne", f"--bootstrap-public-url={url}/v3")
    for line in (
        ("db_sync",),
        ("fernet_setup", *owner),
        ("credential_setup", *owner),
        ("bootstrap", *names, *place),
    ):
        program = (f"{ENVIRONMENT}/bin/keystone-manage", f"--config-file={folder}/keystone.conf")
        run_checked([*program, *line], deadline_seconds=300)
    process = subprocess.Popen([f"{ENVIRONMENT}/bin/python", "-c", _PROGRAM, str(folder), str(port)])

    def token() -> str:
        try:
            return str(ask(f"{url}/v3/auth/tokens", asked)[1]["X-Subject-Token"])
        except urllib.error.URLError:
            return ""

    user = {"name": "ann", "domain": {"id": "default"}, "password": PASSWORD}
    project = {"project": {"name": "CH-1", "domain": {"id": "default"}}}
    asked = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": project}}
    try:
        yield Keystone(url, wait_until(token, "Keystone answers"))
    finally:
        process.kill()
        process.wait()


def test_an_owner_signs_in_by_password_and_by_application_credential(
    keystone: Keystone, tmp_path: Path
) -> None:
    owner = Owner(tmp_path)

    def has(user: str, secret: str, more: str = "", url: str = keystone.url) -> None:
        table = f'[clouds.chi]\nprovider = "openstack"\nurl = "{url}"\nuser = "{user}"\nsecret = "{secret}"\n'
        owner.has(table + more)

    number = ask(f"{keystone.url}/v3/auth/tokens", None, keystone.token, keystone.token)[0]["token"]["user"][
        "id"
    ]
    made = keystone.make(f"users/{number}/application_credentials", "application_credential", name="cm")
    with Cloud() as cloud:
        cloud.keystone = keystone
        for name, (kind, path) in SERVICES.items():
            service = keystone.make("services", "service", type=kind, name=name)["id"]
            more = {"interface": "public", "region_id": "RegionOne", "url": cloud.url + path}
            keystone.make("endpoints", "endpoint", service_id=service, **more)
        has("ann", PASSWORD, 'project = "CH-1"\nregion = "RegionOne"')
        owner.done("default cloud=chi image=debian-12 flavor=m1.small")
        owner.done("vm boot one")
        has("ann", PASSWORD, 'project = "CH-1"', url=f"{keystone.url}/v3")
        assert [it["name"] for it in owner.rows("vm list")] == ["one"]
        has(made["id"], made["secret"])
        owner.done("vm delete one --yes")
        assert cloud.servers == {}
        for user, secret, more in (
            ("ann", "wrong", 'project = "CH-1"'),
            ("ann", PASSWORD, 'project = "absent"'),
            ("ann", PASSWORD, 'project = "CH-1"\ndomain = "absent"'),
            (made["id"], "wrong", ""),
        ):
            has(user, secret, more)
            assert "does not take user and secret" in owner.refused("vm list", 3)
        has("ann", PASSWORD, 'project = "CH-1"\nregion = "Mars"')
        assert "has no such region" in owner.refused("vm list", 2)
