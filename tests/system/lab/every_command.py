"""Runs every `rocks` command on a site like the demo's, and compares the machine outside before and after.

Started by `lab.isolation`, in whose namespaces nothing else runs: processes, devices, mounts and /tmp are this
program's, and /home, /root and /var/lib/rocks are made empty. Prints one JSON object: `results`, by command line;
`changes`, what differs outside afterwards; `inside`, files that commands have made in folders of the system.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab import links, system_calls
from lab.demos.plan import Described, FrontendFacts, site_commands
from lab.namespace import CHECKOUT, IMAGE_FOLDER
from lab.processes import all_process_ids, command_name, identify
from lab.progress import Progress
from lab.site import Site
from rocks.commands._framework.documentation import read_documentation
from rocks.commands._framework.tree import OUR_TREE, all_commands, load_package
from tests.patience import patience

WATCHED = ("/etc", "/var", "/root", "/opt", "/srv", "/usr/local", "/home", "/tmp")
OF_OTHERS = (
    *("/var/log", "/var/cache", "/var/tmp", "/var/spool"),
    *(f"/var/lib/{name}" for name in ("apt", "dpkg", "docker", "snapd", "systemd", "ucf")),
)
"""Folders in which programs of the machine write at any time."""

CHANGING = re.compile(r"/dev/pts/|/dev/tap\d+$|/dev/rocks-test-\d+$")
"""Terminals, the kernel's one folder for the taps of all networks, and a name that the test of block devices gives one:
those of other runs come and go there."""

FOLDER = Path("/tmp/demo")  # noqa: S108 - /tmp is this program's own
MADE_HERE = "/var/lib/rocks"
"""The current folder of the commands, in which some write: a folder of the machine's own."""

DEVICES = ("rockspriv0", "rockspub0")
ORDER = "update add create report list dump check help set sync start pause resume open run cancel clean restore stop"
"""In which the verbs come; those that are not named come last."""

FIRST_ONLY = frozenset(
    ("cancel", "check", "discover", "iterate", "move", "open", "pause")
    + ("remove", "resume", "run", "start", "stop", "sync")
    + ("dump", "list", "report")
)
"""Verbs of commands that wait for hosts, which do not answer here, or that run what an earlier example has done; and
those that only read, whose examples `test_examples` runs."""

LATE = (
    "set host name ",
    "set host interface iface ",
    "set host membership ",
    "set host vm ",
    "set network netmask ",
)
"""Commands after which the names and places that other examples use are different ones."""

HOSTS = (
    "add host compute-0-0",
    "add host vm-container-0-0 membership='VM Container' rack=0 rank=5",
    "add host vm-container-0-1 membership='VM Container' rack=0 rank=6",
    "add host nas-0-0 membership='NAS Appliance'",
    "add host vmc-0-0 membership='VM Container' rack=0 rank=7",
    "add network optiputer 192.168.1.0 255.255.255.0",
    "add host interface compute-0-0 eth0 ip=10.1.0.6 subnet=private mac=00:11:22:33:44:54",
    "add host interface nas-0-0 eth0 ip=10.1.0.8 subnet=private",
    "add host interface vm-container-0-0 eth0 ip=10.1.0.9 subnet=private",
    "add host interface vm-container-0-0 eth1 subnet=public",
    "set attr ib_pkey_pool 0x0002-0x00ff",
)


def main() -> None:
    """The whole comparison."""
    _empty_user_folders()
    _cover_state_folder()
    FOLDER.parent.chmod(0o1777)
    site = Site(FOLDER, CHECKOUT / ".state" / "cache")
    try:
        site.bring_up(Progress(lambda line: None))
        facts = site.machine.in_network(_make_devices)
        setup = [["update", "database"], *(list(one) for one in site_commands(facts, Described()))]
        setup += [shlex.split(line) for line in HOSTS]
        described = run(site, setup)
        before = state(site)
        lines = command_lines()
        results = dict(zip(map(shlex.join, lines), run(site, lines), strict=True))
        after = state(site)
        inside = site.machine.run(
            ["/usr/bin/find", "/etc", "/var/lib", "/export", "/tftpboot", "-newer", str(FOLDER / "init")], 30
        )
    finally:
        site.tear_down()
    changes = sorted(set(before.items()) ^ set(after.items()))
    others = [number for number in all_process_ids() if number not in (1, os.getpid()) and identify(number)]
    print(
        json.dumps(
            {
                "described": described,
                "results": results,
                "changes": changes,
                "inside": inside.text.splitlines(),
                "left": [command_name(number) for number in others],
            }
        )
    )


def command_lines() -> list[list[str]]:
    """Every command without arguments and with those of its examples; of those in FIRST_ONLY, the first one."""
    verbs = ORDER.split()
    trees = [OUR_TREE]
    found = []
    for name in all_commands(trees):
        command = getattr(load_package(name, trees), "Command", None)
        if command is not None:
            lines = [line for line, _ in read_documentation(command).examples]
            examples = [shlex.split(line) for line in (lines[:1] if name[0] in FIRST_ONLY else lines)]
            found += [list(name), *(_shortened(example) for example in examples)]
    ranks = {verb: rank for rank, verb in enumerate(verbs)}

    def place(line: Sequence[str]) -> tuple[bool, int]:
        return f"{shlex.join(line)} ".startswith(LATE), ranks.get(line[0], len(verbs))

    return sorted(found, key=place)


def _shortened(arguments: Sequence[str]) -> list[str]:
    """With a time-out that the test can wait for."""
    return ["timeout=1" if argument.startswith("timeout=") else argument for argument in arguments]


def run(site: Site, lines: Sequence[Sequence[str]]) -> list[tuple[int, str, float]]:
    """Run command lines in the site's machine, as `bin/rocks` does."""
    packages = next((CHECKOUT / ".state/venv/lib").glob("python3.*/site-packages"))
    variables = (
        f"PYTHONPATH={CHECKOUT / 'src'}",
        f"ROCKS_LAUNCHER={CHECKOUT / 'bin/rocks'}",
        f"ROCKS_SITE_PACKAGES={packages}",
    )
    program = [str(CHECKOUT / ".state/venv/bin/python"), str(CHECKOUT / "tests/system/lab/run_commands.py")]
    start = ["/usr/bin/env", "-C", MADE_HERE, *variables, *program]
    answer = site.machine.run_checked(start, patience(500), json.dumps(lines).encode())
    return [(status, text, seconds) for status, text, seconds in json.loads(answer.text)]


def state(site: Site) -> dict[str, str]:
    """What the machine outside has: files with size and time, processes, devices, mounts."""
    members = {member.process_id for member in site.machine.members()}
    processes = [command_name(number) for number in all_process_ids() if number not in members]
    return {
        **dict(_files()),
        "processes": " ".join(sorted(processes)),
        "network devices": " ".join(link.name for link in links.read_links()),
        "devices": " ".join(
            sorted(path for path in map(str, Path("/dev").rglob("*")) if not CHANGING.match(path))
        ),
        "mounts": "".join(_mounts()),
        "root folder": " ".join(sorted(str(path) for path in Path("/").iterdir())),
    }


def _mounts() -> list[str]:
    """Without those of a build of the lab's machines: when it is done, it renames its folder, and so their paths."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if not line.split()[1].startswith(f"{CHECKOUT}/.state/lab-cache/")]


def _files() -> Iterator[tuple[str, str]]:
    excluded = {*OF_OTHERS, str(FOLDER), str(CHECKOUT)}
    for top in WATCHED:
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if f"{folder}/{name}" not in excluded]
            for name in (".", *files):
                try:
                    status = os.lstat(f"{folder}/{name}")
                except FileNotFoundError:
                    continue
                # a temporary file of an ordinary user's command, gone again, leaves the folder's time
                time = "" if (name, folder) == (".", "/tmp") else f"{status.st_mtime_ns}, "
                yield f"{folder}/{name}", f"{status.st_size} bytes, {time}mode {status.st_mode:o}"


def _make_devices() -> FrontendFacts:
    for name in DEVICES:
        links.ensure_bridge(name, "made by a test")
    return FrontendFacts(2, *DEVICES, links.has_vlans(DEVICES[0]), links.has_filters(), IMAGE_FOLDER)


def _empty_user_folders() -> None:
    """Make /home and /root empty, but for the checkout and Python: a write there is then a command's."""
    needed = [
        CHECKOUT,
        Path(sys.base_prefix),
        Path(os.path.realpath(CHECKOUT / ".state/venv/bin/python")).parent.parent,
    ]
    handles = {path: os.open(path, os.O_PATH) for path in needed if not path.is_relative_to("/usr")}
    for folder in ("/home", "/root"):
        system_calls.mount("empty", folder, "tmpfs", options="mode=755")
    for path, handle in handles.items():
        if not path.exists():
            path.mkdir(parents=True)
            system_calls.bind(f"/proc/self/fd/{handle}", path)
    os.chdir(CHECKOUT)


def _cover_state_folder() -> None:
    """Make the machine's own state folder an empty one: agents of other tests write there at any time."""
    Path(MADE_HERE).mkdir(mode=0o755, parents=True, exist_ok=True)
    system_calls.mount("empty", MADE_HERE, "tmpfs", options="mode=755")


if __name__ == "__main__":
    main()
