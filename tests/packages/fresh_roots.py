"""Fresh, minimal Debian roots without a network, and a repository for them in a folder."""

import gzip
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from lab.namespace import CHECKOUT
from rocks.core.errors import StateError
from rocks.core.process import Finished, run, run_checked, start_with_pipes

CACHE = CHECKOUT / ".state" / "packages" / "roots"
"""The minimal root and what apt has downloaded, kept between runs."""

_TOOLS = CHECKOUT / "tools"
_POLICY = "#!/bin/sh\nexit 101\n"  # no service starts while its package is installed
_SECONDS = 900.0


class Root:
    """A root folder whose processes have mounts, processes and a network (no device, no address) of their own.

    They end with `close`, and with this process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ends_with_starter = ["setpriv", "--pdeathsig", "KILL", "--"]
        apart = [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
            "--",
        ]
        enter = ["sh", str(CHECKOUT / "tools" / "fresh-root"), "--inside", str(folder), "/", ""]
        outer = [*ends_with_starter, *apart, *enter, "sh", "-c", "echo ready; exec sleep infinity"]
        self._holder = start_with_pipes(outer, {"PATH": os.environ["PATH"]})
        assert self._holder.stdout.readline() == b"ready\n", "the root could not be entered"
        self._inside = _only_child(
            _only_child(self._holder.pid)
        )  # process 1, which is outside of the root, and its child
        if not Path(f"/proc/{self._inside}/root").samefile(folder):
            raise StateError(f"process {self._inside} is not in {folder}")

    @property
    def process_id(self) -> int:
        """A process in the namespaces of the root."""
        return self._inside

    def run(self, *arguments: str, standard_input: bytes = b"", seconds: float = _SECONDS) -> Finished:
        return run(self._command(arguments), deadline_seconds=seconds, standard_input=standard_input)

    def done(self, *arguments: str, standard_input: bytes = b"", seconds: float = _SECONDS) -> str:
        """Its standard output; ToolError unless it exits with 0."""
        command = self._command(arguments)
        return run_checked(command, deadline_seconds=seconds, standard_input=standard_input).text

    def install(self, *packages: str) -> str:
        """apt-get install, without recommended packages."""
        return self.done("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)

    def paths(self) -> set[str]:
        """Every path of the root's own file system outside of apt's and dpkg's records, logs and caches."""
        skipped = (
            "/proc",
            "/sys",
            "/dev",
            "/run",
            "/tmp",
            "/var/lib/dpkg",
            "/var/lib/apt",
            "/var/log",
            "/var/cache",
        )
        found = set()
        for place, folders, files in os.walk(self.folder):
            inside = "/" + os.path.relpath(place, self.folder).removeprefix(".")
            folders[:] = [name for name in folders if f"{inside.rstrip('/')}/{name}" not in skipped]
            found |= {f"{inside.rstrip('/')}/{name}" for name in (*folders, *files)}
        return found

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        for stream in (self._holder.stdin, self._holder.stdout, self._holder.stderr):
            if stream is not None:
                stream.close()

    def _command(self, arguments: Sequence[str]) -> list[str]:
        namespaces = [
            "nsenter",
            "--target",
            str(self._inside),
            "--mount",
            "--net",
            "--pid",
            "--root",
            "--wdns=/",
            "--",
        ]
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"]
        return [*namespaces, *environment, "DEBIAN_FRONTEND=noninteractive", *arguments]


def _only_child(process_id: int) -> int:
    (child,) = Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii").split()
    return int(child)


def minimal_root() -> Path:
    """A tar of Debian's smallest root, made once for each point release; its name has the key of the release."""
    CACHE.mkdir(parents=True, exist_ok=True)
    make = [str(_TOOLS / "minimal-root"), str(debian_sources()), str(CACHE)]
    return Path(run_checked(make, deadline_seconds=_SECONDS).text.strip())


def make_bare_root(folder: Path) -> Path:
    """Unpack the minimal root; it has no source of packages."""
    folder.mkdir()
    run_checked(
        ["tar", "-C", str(folder), "--numeric-owner", "-xf", str(minimal_root())], deadline_seconds=_SECONDS
    )
    for source in ("sources.list", "sources.list.d"):
        path = folder / "etc/apt" / source
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (folder / "etc/apt/apt.conf.d/90root").write_text('APT::Sandbox::User "root";\n', "ascii")
    return folder


def make_root(folder: Path, repository: Path) -> Path:
    """A minimal root whose only source of packages is the repository, shown at /srv/packages."""
    make_bare_root(folder)
    (folder / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/packages ./\n", "ascii")
    policy = folder / "usr/sbin/policy-rc.d"
    policy.write_text(_POLICY, "ascii")
    policy.chmod(0o755)
    shutil.copytree(repository, folder / "srv/packages", copy_function=os.link)
    return folder


def make_repository(folder: Path, ours: Sequence[Path], also: Sequence[str] = ()) -> Path:
    """A repository of our packages, those of Debian in `also`, and all that they need beyond the minimal root, by apt
    from Debian's mirror.
    """
    folder.mkdir()
    for package in ours:
        shutil.copy2(package, folder)
    status = CACHE / "status"
    record = ["tar", "-xOf", str(minimal_root()), "./var/lib/dpkg/status"]
    status.write_bytes(run_checked(record, deadline_seconds=60).output)
    places = {
        **({"ours": folder} if ours else {}),
        "status": status,
        "sources": debian_sources(),
        "cache": CACHE / "apt",
        "into": folder,
    }
    options = [word for name, place in places.items() for word in (f"--{name}", str(place))]
    names = [*(package.name.partition("_")[0] for package in ours), *also]
    run_checked([str(_TOOLS / "collect-packages"), *options, *names], deadline_seconds=_SECONDS)
    _index(folder)
    return folder


def _index(folder: Path) -> None:
    """Packages.gz of a flat repository. Run in the folder, for its paths stand in it."""
    text = run_checked(
        ["sh", "-c", 'cd "$1" && exec apt-ftparchive packages .', "sh", str(folder)],
        deadline_seconds=_SECONDS,
    ).output
    (folder / "Packages.gz").write_bytes(gzip.compress(text, mtime=0))


def debian_sources() -> Path:
    """A file with Debian's sources; ZFS is in contrib."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / "sources.list"
    path.write_bytes(
        run_checked([str(_TOOLS / "debian-sources"), "main", "contrib"], deadline_seconds=_SECONDS).output
    )
    return path
