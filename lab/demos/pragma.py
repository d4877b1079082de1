"""`make demo-pragma`: on the demo's site, a cluster in PRAGMA's form, from a web server to its removal.

The repository is a folder behind Python's web server on the site's machine; its image is that of `make demo-launch`.
"""

from __future__ import annotations

import gzip
import os
import shlex
import shutil
import time
from pathlib import Path

from lab.demos.image_demo import FOR_LAUNCHERS, ImageDemo, answer_of, ssh_line
from lab.namespace import CHECKOUT
from rocks.core.errors import IncoherentError, ToolError

NAME = "dock6"
ADDRESS = "203.0.113.21"
MAX_CPUS = 4
_PORT = 8081
_ROLL = CHECKOUT / "roll" / "pragma"
_COMMAND_SECONDS = 900.0
# a process for each line; the image has root alone
_MPIRUN = "mpirun --allow-run-as-root --hostfile /tmp/machinefile hostname"
_DOMAIN = """<domain type='kvm'><name>template</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu><devices>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='debian.img'/>
<target dev='vda' bus='virtio'/></disk>
{interfaces}</devices></domain>"""
_INTERFACE = "<interface type='bridge'><source bridge='template'/><model type='virtio'/></interface>\n"
_MEMORY_MB = 768


class DemoPragma(ImageDemo):
    """One run of it."""

    image_kind = FOR_LAUNCHERS

    def run(self) -> None:
        """Sync, boot, log in, mpirun, list, shut down, clean. RocksError when a step fails, or something is left."""
        image, config = self.build_site(NAME, ADDRESS)
        self._progress.print("\nThe cluster gets the CPUs of the demo's machines:")
        stopped = self._demo.stop_machines()
        self._serve(image)
        self._progress.print("\nThe roll pragma, and a repository on a web server:")
        trees = self._site.machine.outside("/etc/rocks/trees.d")
        trees.mkdir(parents=True, exist_ok=True)
        (trees / "pragma").write_text(f"{_ROLL / 'commands'}\n")
        self.choose_library()
        for name, value in (
            ("pragma_repository_url", f"http://127.0.0.1:{_PORT}"),
            ("pragma_public_addresses", f"{ADDRESS}={NAME}.example.org"),
        ):
            self._demo.show("set", "attr", name, value)
        self._timed("rocks pragma sync repository", "pragma", "sync", "repository")
        self._demo.show("pragma", "list", "repository")
        self._boot(config)
        self._log_in(config)
        self._run_program(config)
        self._remove()
        self._site.machine.release()
        self._progress.print(f"\nTimes:\n{self._progress.table()}")
        self._progress.print("\nNothing of the cluster is left. `make demo-stop` ends and removes the site.")
        if stopped:
            names = " ".join(stopped)
            self._progress.print(f"bin/rocks start host vm {names} starts again what was stopped for it.")

    def _serve(self, image: Path) -> None:
        """The repository, and a web server for it in the site's network."""
        folder = self._site.folder / "pragma-repository"
        (folder / NAME).mkdir(parents=True, exist_ok=True)
        packed = folder / NAME / "debian.img.gz"
        if not packed.exists():
            with self._progress.step("the image, packed as published ones are"):
                draft = packed.with_suffix(".draft")
                with image.open("rb") as source, gzip.open(draft, "wb", 1) as target:
                    shutil.copyfileobj(source, target, 1024**2)
                draft.rename(packed)
        domains = [_DOMAIN.format(memory=_MEMORY_MB, interfaces=count * _INTERFACE) for count in (2, 1)]
        assembly = "<file type='gzip'><part>debian.img.gz</part></file>"
        (folder / NAME / "vc-in.xml").write_text(
            "<vc version='0.1'><virtualization engine='kvm' type='hvm' arch='x86_64'/>"
            f"<frontend>{assembly}{domains[0]}</frontend><compute>{assembly}{domains[1]}</compute></vc>\n"
        )
        (folder / "vcdb.txt").write_text(f"{NAME},{NAME}/vc-in.xml\n")
        if self._site.machine.daemon("web-server") is None:
            server = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), str(_PORT)]
            self._site.machine.start_daemon("web-server", ["/usr/bin/python3", *server])

    def _boot(self, config: Path) -> None:
        cpus = min(MAX_CPUS, len(os.sched_getaffinity(0)))
        key = config.parent / "id.pub"
        typed = [
            "pragma_boot",
            "-vcname",
            NAME,
            "-num_cpus",
            str(cpus),
            "-key",
            str(key),
            "-logfile",
            str(self._site.folder / "boot.log"),
        ]
        self._progress.print(f"\n  # {shlex.join(typed)}")
        begin = time.monotonic()
        path = f"PATH={CHECKOUT / 'bin'}:{os.environ['PATH']}"
        line = [
            "/usr/bin/env",
            path,
            f"ROCKS_STATE={self._site.folder}",
            str(_ROLL / "include" / typed[0]),
            *typed[1:],
        ]
        finished = self._site.machine.run(line, _COMMAND_SECONDS)
        for text in (finished.text + finished.error_text).splitlines():
            self._progress.print(f"  {text}")
        if finished.exit_status != 0:
            raise ToolError(f"pragma_boot ended with exit status {finished.exit_status}")
        self._progress.record("pragma_boot: allocated and started", time.monotonic() - begin)
        self._demo.show("pragma", "list", "cluster")

    def _log_in(self, config: Path) -> None:
        self._progress.print("\nBy SSH:")
        begin = time.monotonic()
        with self._progress.step(f"{NAME} boots until it answers (minutes under emulation)"):
            answer_of(self._site, config, NAME, "true")
        for command in (
            "hostname",
            "cat /tmp/machinefile",
            "cat /root/vc-out.xml",
            "ssh -o BatchMode=yes -o ConnectTimeout=60 compute-0 'hostname; ls -l /root/vc-out.xml'",
        ):
            self._progress.print(f"  # ssh {NAME} {command}")
            for text in answer_of(self._site, config, NAME, command).splitlines():
                self._progress.print(f"  {text}")
        self._progress.record("guests: since the start, both have answered", time.monotonic() - begin)

    def _run_program(self, config: Path) -> None:
        """A process for each CPU of the machine file. IncoherentError where one did not run on its compute."""
        listed = answer_of(self._site, config, NAME, "cat /tmp/machinefile").split()
        expected = [name.replace("compute-", f"vm-{NAME}-") for name in listed]
        begin = time.monotonic()
        self._progress.print(f"  # ssh {NAME} {_MPIRUN}")
        finished = self._site.machine.run_checked(ssh_line(config, NAME, _MPIRUN), _COMMAND_SECONDS)
        answered = finished.text.split()
        self._progress.record("mpirun over /tmp/machinefile", time.monotonic() - begin)
        for name in answered:
            self._progress.print(f"  {name}")
        if not expected or sorted(answered) != sorted(expected):
            raise IncoherentError(f"mpirun ran on {answered}, not on {expected}, as /tmp/machinefile has it")

    def _remove(self) -> None:
        self._progress.print("\nIts end:")
        self._timed("rocks pragma shutdown", "pragma", "shutdown", NAME)
        self._demo.show("pragma", "list", "cluster", NAME)
        self._timed("rocks pragma clean", "pragma", "clean", NAME)
        left = [name for name in self._names() if NAME in name]
        images = self._demo.ask("list", "host", "image")
        left += [
            str(row)
            for host in images
            for row in next(v for v in host.values() if isinstance(v, list))
            if NAME in str(row)
        ]
        if left:
            raise IncoherentError(f"of {NAME} is left: {', '.join(left)}")

    def _names(self) -> list[str]:
        return [str(row["host"]) for row in self._demo.ask("list", "host")]

    def _timed(self, what: str, *arguments: str) -> None:
        begin = time.monotonic()
        self._demo.show(*arguments)
        self._progress.record(what, time.monotonic() - begin)
