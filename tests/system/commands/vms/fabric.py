"""An InfiniBand fabric without hardware: ibsim plays switches and adapters, and opensm manages them."""

import os
import shutil
import time
from pathlib import Path
from subprocess import Popen, TimeoutExpired  # noqa: TID251 - the types of what rocks.core.process starts

from rocks.core.process import run, start_with_pipes
from tests.patience import patience

PROGRAMS = ("ibsim", "opensm", "smpquery", "setpriv")
PRELOADED = "umad2sim/libumad2sim.so"
MAX_SECONDS = 60.0

_FIRST_GUID = 0x100000  # ibsim 0.10 counts on from there: an adapter's own GUID, then its port's
_SWITCH_PORTS = 36


def missing_part() -> str | None:
    """What of the simulator is not installed; None when all of it is."""
    for program in PROGRAMS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            return program
    return None if _library() is not None else PRELOADED


def _library() -> Path | None:
    return next(Path("/usr/lib").glob(f"*/{PRELOADED}"), None)


class Fabric:
    """One adapter of one port for each host, on two switches; the subnet manager sits on the first adapter.

    Every process gets SIGKILL from the kernel when this one ends.
    """

    def __init__(self, folder: Path, hosts: int) -> None:
        self.folder = folder
        self.partitions_file = folder / "partitions.conf"
        self.pid_file = folder / "opensm.pid"
        self.guids = [_FIRST_GUID + 2 * number + 1 for number in range(hosts + 1)]
        self._running: dict[str, Popen[bytes]] = {}

    def start(self) -> None:
        """Start the fabric and its subnet manager."""
        net = self.folder / "net"
        net.write_text(_net_text(len(self.guids)), encoding="ascii")
        self._launch("ibsim", ["ibsim", "-s", "-n", str(net)])
        self.start_manager()

    def stop(self) -> None:
        """End both; opensm first, because it waits for a missing fabric."""
        self.stop_manager()
        self._end("ibsim")

    def start_manager(self) -> None:
        """Start opensm; it is the master after some ten seconds."""
        arguments = [
            "opensm",
            "-P",
            str(self.partitions_file),
            "-f",
            str(self.folder / "opensm.log"),
            "-s",
            "0",
        ]
        # both memberships of the default partition (attribute ib_default_membership)
        process = self._launch("opensm", [*arguments, "-W"])
        self.pid_file.write_text(f"{process.pid}\n", encoding="ascii")

    def stop_manager(self) -> None:
        """End opensm; the tables of the ports do not change."""
        self._end("opensm")
        self.pid_file.unlink(missing_ok=True)

    def keys(self, guid: int) -> set[int]:
        """The P_Key table of a port, as read from the fabric; empty while it does not answer."""
        finished = run(
            ["smpquery", "-G", "pkeys", f"0x{guid:x}"],
            deadline_seconds=MAX_SECONDS,
            environment=self._environment(),
        )
        rows = [line.partition(":")[2].split() for line in finished.text.splitlines() if line[:1].isspace()]
        return {int(word, 16) for row in rows for word in row} - {0}

    def wait_for(self, expected: dict[int, set[int]]) -> dict[int, set[int]]:
        """The tables of these ports once they are as expected, or what they are when the time is over."""
        end = time.monotonic() + patience(MAX_SECONDS)
        while True:
            found = {guid: self.keys(guid) for guid in expected}
            if found == expected or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def _launch(self, name: str, arguments: list[str]) -> Popen[bytes]:
        environment = self._environment()
        preload = environment.pop("LD_PRELOAD")  # for opensm alone: it is no library for a shell
        texts = [f"LD_PRELOAD={preload}"] if name == "opensm" else []
        process = start_with_pipes(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _QUIET, "sh", name, *texts, *arguments],
            environment=environment,
        )
        self._running[name] = process
        return process

    def _end(self, name: str) -> None:
        process = self._running.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=10)
        except TimeoutExpired:
            process.kill()
            process.communicate()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{os.environ.get('PATH', '/usr/bin')}:/usr/sbin",
            "LD_PRELOAD": str(_library()),
            "IBSIM_SOCKNAME": self.folder.name,
            "SIM_HOST": "host0",
            "OSM_TMP_DIR": str(self.folder),
            "OSM_CACHE_DIR": str(self.folder),
        }


# an adapter that is played has its files in the working folder, and leaves them there when it is killed
_QUIET = 'cd "$OSM_TMP_DIR"; name=$1; shift; exec env "$@" </dev/null >>"$OSM_TMP_DIR/$name.out" 2>&1'


def _net_text(adapters: int) -> str:
    """ibsim's language: a node, a line for each of its links, a blank line."""
    switches = [
        list(range(start, min(start + _SWITCH_PORTS - 1, adapters)))
        for start in range(0, adapters, _SWITCH_PORTS - 1)
    ]
    blocks = []
    for number, members in enumerate(switches):
        links = [f'[{port}] "host{member}"[1]' for port, member in enumerate(members, 1)]
        if len(switches) == 2:
            links.append(f'[{_SWITCH_PORTS}] "switch{1 - number}"[{_SWITCH_PORTS}]')
        blocks.append([f'Switch {_SWITCH_PORTS} "switch{number}"', *links])
    for number, members in enumerate(switches):
        for port, member in enumerate(members, 1):
            blocks.append([f'Ca 1 "host{member}"', f'[1] "switch{number}"[{port}]'])
    return "".join("\n".join(block) + "\n\n" for block in blocks)
