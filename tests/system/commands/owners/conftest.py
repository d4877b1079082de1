"""The owners' service on a site of two clusters, and the keys of two owners."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.site.airboss import client
from rocks.site.airboss.service import create_service
from tests.servers import answering
from tests.system.commands.conftest import Site
from tests.system.commands.owners.airboss_site import SWITCH, Service, add_clusters


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keys of two owners: the path of the private key → the public key."""
    folder = tmp_path_factory.mktemp("keys")
    return {
        str(folder / f"{name}.key"): client.create_key(str(folder / f"{name}.key"), "ed25519", False)
        for name in ("one", "two")
    }


@pytest.fixture
def service(vm_site: Site, authority: Path, tmp_path: Path, keys: dict[str, str]) -> Iterator[Service]:
    """The service on a port of its own, with two clusters."""
    vm_site.patch.setenv("HOME", str(tmp_path))
    vm_site.done("add host certificate head")
    add_clusters(vm_site, tmp_path, keys)
    launcher = tmp_path / "rocks"
    launcher.write_text(SWITCH.format(record=tmp_path / "switched"))
    launcher.chmod(0o755)
    log: list[str] = []
    with answering(create_service(vm_site.database, "127.0.0.1", 0, log.append, str(launcher))) as server:
        found = Service(server, tmp_path, vm_site)
        found.log = log
        vm_site.patch.setattr(
            "rocks.site.airboss.service.log_call",
            lambda call, outcome: found.calls.append((call, outcome)),
        )
        yield found
