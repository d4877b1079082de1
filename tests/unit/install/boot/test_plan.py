"""Which file answers a host's network boot, and which network settings an installer gets."""

import pytest

from rocks.install.boot.plan import BootFacts, boot_file, default_file
from rocks.inventory.records import BootAction

OS = BootAction("os", "localboot 0", None, None)
INSTALL = BootAction("install", "vmlinuz", "initrd.img", "ks kssendmac")
BY_DEVICE = BootAction("install", "vmlinuz", "initrd.img", "ks ksdevice=eth0")
NETWORK = {
    "Kickstart_PrivateGateway": "10.1.1.1",
    "Kickstart_PrivateDNSServers": "10.1.1.1,10.1.1.2",
    "Kickstart_PrivateKickstartHost": "10.1.1.3",
}
COMPUTE = BootFacts(
    "compute-0-0", "Compute", None, OS, INSTALL, INSTALL, "10.1.255.254", "255.255.0.0", NETWORK
)


@pytest.mark.parametrize(("next_boot", "recipe"), [(None, OS), ("os", OS), ("run", OS), ("install", INSTALL)])
def test_next_boot_chooses_the_action(next_boot: str | None, recipe: BootAction) -> None:
    file = boot_file(COMPUTE._replace(next_boot=next_boot))
    assert file is not None
    assert (file.name, file.recipe) == ("0A01FFFE", recipe)


def test_a_host_without_an_action_has_no_answer() -> None:
    file = boot_file(COMPUTE._replace(run_action=None))
    assert file is not None and file.recipe is None


@pytest.mark.parametrize(
    "other", [{"address": None}, {"membership": "Hosted VM"}, {"membership": "hosted vm"}]
)
def test_what_this_service_does_not_answer(other: dict[str, str | None]) -> None:
    assert boot_file(COMPUTE._replace(**other)) is None  # type: ignore[arg-type] # keys are fields


def test_an_installer_with_a_device_also_gets_its_network() -> None:
    file = boot_file(COMPUTE._replace(next_boot="install", install_action=BY_DEVICE))
    assert file is not None
    assert file.arguments == (
        "ks ksdevice=eth0 ip=10.1.255.254 gateway=10.1.1.1 netmask=255.255.0.0 dns=10.1.1.1 nextserver=10.1.1.3"
    )


def test_what_the_site_does_not_say_is_left_out() -> None:
    file = boot_file(COMPUTE._replace(next_boot="install", install_action=BY_DEVICE, attributes={}))
    assert file is not None
    assert file.arguments == "ks ksdevice=eth0 ip=10.1.255.254 netmask=255.255.0.0"


def test_machines_that_nobody_knows_are_installed() -> None:
    file = default_file(COMPUTE._replace(host="head", run_action=OS, install_action=None))
    assert (file.name, file.recipe, file.arguments) == ("default", INSTALL, "ks kssendmac")
