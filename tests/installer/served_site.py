"""A frontend that serves hosts by its own commands.

Its network private is a tap device in the network of the test, with one machine at the other end. The services are
processes of `rocks`, with a real database; only keys and certificates are in a folder of the test.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rocks.core.process import run_checked
from rocks.install.graph_files import SITE_GRAPHS, SITE_NODES, own_folders
from rocks.install.rolls.distribution import DistributionPlan, create_distribution
from tests.debs import make_deb
from tests.installer.installing_site import InstallingSite

CHECKOUT = Path(__file__).parents[2]
DIST = CHECKOUT / "dist"
FRONTEND, ADDRESS, NETMASK = "head", "10.9.0.1", "255.255.255.0"
ARGUMENTS = "console=ttyS0,115200 mitigations=off quiet"


class Frontend(InstallingSite):
    """A site with a frontend and no hosts: database, distribution, boot service, HTTPS service."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        modules = {"PYTHONPATH": str(CHECKOUT / "src")}
        super().__init__(folder, folder / "key", folder / "known_hosts", environment | modules)
        self._make_network()
        self._make_distribution()
        self._make_site()
        self.start_services()

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command line, with keys and certificates in the folder."""
        keys = (str(self.folder / "key"), str(self.folder / "known_hosts"))
        start = (
            "import sys\n"
            "from rocks.storage.broker import broker as message_broker\n"
            "from rocks.fleet.connection import FleetSettings\n"
            f"message_broker.AUTHORITY_FOLDER = {str(self.folder / 'pki')!r}\n"
            f"FleetSettings.__new__.__defaults__ = {keys!r} + FleetSettings.__new__.__defaults__[2:]\n"
            "from rocks.cli.main import main\n"
            f"sys.exit(main({list(arguments)!r}))\n"
        )
        return [sys.executable, "-c", start]

    def close(self) -> None:
        """End the services and remove the network."""
        super().close()
        run_checked(["ip", "link", "del", self.tap], deadline_seconds=10)

    def _make_network(self) -> None:
        for line in (
            ["tuntap", "add", "dev", self.tap, "mode", "tap"],
            ["address", "add", f"{ADDRESS}/24", "dev", self.tap],
            ["link", "set", self.tap, "up"],
        ):
            run_checked(["ip", *line], deadline_seconds=10)

    def _make_distribution(self) -> None:
        """As `rocks create distro` builds it, from a roll with the installer and one package."""
        roll = self.folder / "rolls/os/12/x86_64"
        (roll / "installer").mkdir(parents=True)
        for name in ("vmlinuz", "installer.img", "root.tar.zst", "root.sha256"):
            shutil.copy(DIST / name, roll / "installer" / name)
        make_deb(roll / "Debian", "site-mark", "1")
        place = self.folder / "export/install"
        place.mkdir(parents=True)
        plan = DistributionPlan("rocks-dist", "x86_64", [roll], own_folders(), SITE_NODES, SITE_GRAPHS)
        create_distribution(plan, place)

    def _make_site(self) -> None:
        for line in (
            f"add network private 10.9.0.0 {NETMASK} dnszone=local",
            f"add host {FRONTEND} membership=Frontend rack=0 rank=0",
            f"add host interface {FRONTEND} eth0 ip={ADDRESS} subnet=private",
            f"set attr Kickstart_PrivateHostname {FRONTEND}",
            f"set attr Kickstart_PrivateGateway {ADDRESS}",
            f"set attr Kickstart_DistroDir {self.folder}/export",
            f"add host certificate {FRONTEND}",
        ):
            self.rocks(*line.split())
        self.rocks("set", "appliance", "attr", "compute", "install_kernel_arguments", f"value={ARGUMENTS}")
