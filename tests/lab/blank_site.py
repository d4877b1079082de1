"""The lab's frontend as one that installs blank machines: the rolls, a distribution made of them, both services."""

from collections.abc import Sequence
from pathlib import Path

from lab.build import parts
from lab.build.cache import Cache
from lab.machines.checkout import CACHE, CHECKOUT, STATE
from lab.machines.frontend import NAME, Frontend, site_commands
from lab.machines.roster import STORAGE_BRIDGE
from rocks.core.process import run_checked
from rocks.core.version import ROLL_NAME
from tests.installer.installing_site import InstallingSite

SUBJECTS = ("bin/rocks", "src/rocks", "roll", "lab/instruments/counting_guest.S", "packaging")

ROLLS = ("os", ROLL_NAME)
ARGUMENTS = "console=ttyS0,115200 mitigations=off quiet modprobe.blacklist=kvm_amd"
"""QEMU's emulated SVM can stop a host with two processors for ever (docs/lab.md), so guests run without KVM there."""
_KEYS = Path("/etc/rocks/ssh")


def built_rolls() -> list[Path]:
    """The ISOs of `make os-roll` and `make roll`; fewer when one is missing, or is there twice."""
    found = [sorted((CHECKOUT / "dist").glob(f"{name}-*.disk1.iso")) for name in ROLLS]
    return [isos[0] for isos in found if len(isos) == 1]


def counting_guest() -> bytes:
    """The boot sector of the guest that counts. StateError when the lab was never built."""
    return (
        Cache(CACHE).required("instruments", parts.keys().instruments) / "counting_guest.bin"
    ).read_bytes()


class BlankSite(InstallingSite):
    """A site without hosts, on the lab's storage network, whose other machines it does not touch."""

    tap = "blank-storage"

    def __init__(self, frontend: Frontend, folder: Path, rolls: Sequence[Path]) -> None:
        """The site of the frontend's database is made anew."""
        super().__init__(folder, _KEYS / "id_ed25519", _KEYS / "known_hosts", {"ROCKS_STATE": str(STATE)})
        frontend.begin_anew()
        self._cables: list[str] = []
        self.add_cable(self.tap)
        distribution = folder / "export/install"
        distribution.mkdir(parents=True)
        for line in (*site_commands(()), ("set", "attr", "Kickstart_DistroDir", str(distribution.parent))):
            self.rocks(*line)
        self.rocks("add", "roll", *map(str, rolls))
        self.rocks("enable", "roll", *ROLLS)
        self.rocks("create", "distro", folder=distribution)
        self.rocks("add", "host", "certificate", NAME)
        self.start_services()

    def command(self, arguments: Sequence[str]) -> list[str]:
        """As the operator types it."""
        return [str(CHECKOUT / "bin/rocks"), *arguments]

    def set_appliance(self, name: str, **attributes: str) -> None:
        """Set attributes of all hosts of an appliance, besides the kernel's arguments."""
        for attribute, value in {"install_kernel_arguments": ARGUMENTS, **attributes}.items():
            self.rocks("set", "appliance", "attr", name, attribute, f"value={value}")

    def add_cable(self, tap: str) -> str:
        """A cable for another machine, which ends at this device; returns the device."""
        for step in _tap_steps(tap):
            run_checked(step, deadline_seconds=10)
        self._cables.append(tap)
        return tap

    def close(self) -> None:
        """End the services and remove the cables."""
        super().close()
        for tap in self._cables:
            run_checked(["ip", "link", "del", tap], deadline_seconds=10)


def _tap_steps(tap: str) -> list[list[str]]:
    return [
        ["ip", "tuntap", "add", "dev", tap, "mode", "tap"],
        ["ip", "link", "set", tap, "master", STORAGE_BRIDGE],
        ["ip", "link", "set", tap, "up"],
    ]
