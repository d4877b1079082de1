"""A machine that becomes a frontend from the medium: its answers, power cuts, and media of a newer version."""

import contextlib
import shutil
import time
from pathlib import Path

from rocks.core.errors import ToolError
from rocks.core.process import Finished, run_checked
from tests.packages.fresh_roots import Root
from tests.packages.test_frontend import start_database

ANSWERS = """\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = lo
Kickstart_PrivateAddress = 10.9.9.2
Kickstart_PrivateNetmask = 255.255.255.0
"""
INSTALL = ("sh", "/media/rocks/install", "/root/site")
MEDIUM = "media/rocks"

_LOG = "root/installation.log"
_SECONDS = 600.0


class Machine:
    """A root folder with the medium and a file of answers, which can lose its power."""

    def __init__(self, folder: Path, medium: Path) -> None:
        self.folder = folder
        (folder / "media").mkdir(exist_ok=True)
        self.insert(medium)
        (folder / "root/site").write_text(ANSWERS)
        self.root = self._switched_on()

    def insert(self, medium: Path) -> None:
        """Put another medium into the drive."""
        shutil.rmtree(self.folder / MEDIUM, ignore_errors=True)
        shutil.copytree(medium, self.folder / MEDIUM)

    def install(self) -> Finished:
        return self.root.run(*INSTALL)

    def cut_power(self) -> None:
        """End every process at once, and lose /run; then start the machine again, and its database if it can."""
        self.root.close()
        self.root = self._switched_on()
        with contextlib.suppress(ToolError, OSError):
            start_database(self.root)

    def cut_power_after(self, line: str, seconds: float) -> bool:
        """Install, and lose the power `seconds` after this line; whether it came to that."""
        log = self.folder / _LOG
        log.unlink(missing_ok=True)
        self.root.done("sh", "-c", f'nohup "$@" >/{_LOG} 2>&1 & echo $! >/run/installing', "sh", *INSTALL)
        end_at = time.monotonic() + _SECONDS
        while (
            time.monotonic() < end_at
            and self._is_installing()
            and line not in log.read_text("utf-8", "replace")
        ):
            time.sleep(0.1)
        came = line in log.read_text("utf-8", "replace")
        time.sleep(seconds if came else 0)
        self.cut_power()
        return came

    @property
    def log(self) -> str:
        """What the last installation has printed that `cut_power_after` began."""
        return (self.folder / _LOG).read_text("utf-8", "replace")

    def close(self) -> None:
        """End everything in it, and remove it."""
        self.root.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_installing(self) -> bool:
        return self.root.run("sh", "-c", "kill -0 $(cat /run/installing)").exit_status == 0

    def _switched_on(self) -> Root:
        root = Root(self.folder)
        network = [
            "nsenter",
            "--target",
            str(root.process_id),
            "--net",
            "--",
        ]  # a new machine has no program ip
        for arguments in (("link", "set", "lo", "up"), ("address", "add", "10.9.9.2/24", "dev", "lo")):
            run_checked([*network, "ip", *arguments], deadline_seconds=120)
        return root


def list_files(medium: Path) -> None:
    (medium / "SHA256SUMS").unlink()
    script = 'cd "$1" && find . -type f | sort | xargs sha256sum'
    listed = run_checked(["sh", "-c", script, "sh", str(medium)], deadline_seconds=120)
    (medium / "SHA256SUMS").write_bytes(listed.output)


def index_packages(folder: Path) -> None:
    """Write Packages of a flat repository."""
    script = (
        'cd "$1" && rm -f Packages* && apt-ftparchive packages . >Packages.new && mv Packages.new Packages'
    )
    run_checked(["sh", "-c", script, "sh", str(folder)], deadline_seconds=120)


def make_newer_medium(medium: Path, folder: Path, version: str) -> Path:
    """The same medium with our packages under a newer version."""
    shutil.copytree(medium, folder)
    before = (folder / "version").read_text("ascii").strip()
    for name in ("rocks-common", "rocks-cli", "rocks-nucleus"):
        (package,) = (folder / "repository").glob(f"{name}_*.deb")
        content = folder.with_name(f"{folder.name}-{name}")
        run_checked(["dpkg-deb", "-R", str(package), str(content)], deadline_seconds=120)
        control = content / "DEBIAN/control"
        control.write_text(control.read_text("utf-8").replace(before, version), "utf-8")
        package.unlink()
        new = package.with_name(package.name.replace(before, version))
        run_checked(["dpkg-deb", "-Zgzip", "-z1", "-b", str(content), str(new)], deadline_seconds=120)
        shutil.rmtree(content)
    (folder / "version").write_text(f"{version}\n")
    index_packages(folder / "repository")
    list_files(folder)
    return folder
