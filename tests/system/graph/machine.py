"""A machine to run a profile on: this one, in a mount namespace with folders of its own where something is written."""

import shutil
from pathlib import Path

from rocks.core.process import Finished, run

STUBS = {
    # what is installed is a file of its name
    "dpkg-query": 'for name; do [ ! -e "$STUBS/installed/$name" ] || echo "ii $name"; done',
    "apt-get": 'echo "$*" >>"$STUBS/apt"; [ ! -e "$STUBS/no-mirror" ] || exit 100\n'
    'case " $* " in *" install "*) for name; do touch -- "$STUBS/installed/${name##*/}"; done ;; esac',
    "dpkg": "true",
    "modprobe": 'echo "$*" >>"$STUBS/modprobe"',
    "zpool": "true",
    "systemctl": """\
word=$1; shift
for unit; do :; done
echo "$word $unit" >>"$STUBS/systemctl"
case $word in
  is-enabled) [ -e "$STUBS/units/$unit.enabled" ] ;;
  is-active) [ -e "$STUBS/units/$unit.active" ] ;;
  is-failed) [ -e "$STUBS/units/$unit.failed" ] ;;
  enable) touch "$STUBS/units/$unit.enabled" ;;
  start|restart)
    [ ! -e "$STUBS/units/$unit.broken" ] && rm -f "$STUBS/units/$unit.failed" && touch "$STUBS/units/$unit.active"
    ;;
  show) [ ! -e "$STUBS/units/$unit.active" ] || stat -c %y "$STUBS/units/$unit.active" ;;
esac
""",
}
"""Programs that would change this machine, by their names; they record their arguments in the folder $STUBS."""

_SCRIPT = """\
set -eu
for place in etc var/lib usr/local/sbin run; do mount --bind "$0/$place" "/$place"; done
mount --bind "$0/opt" /opt
mount --bind "$0/hugepages" /sys/kernel/mm/hugepages
export STUBS="$0/stubs"
exec bash
"""


class Machine:
    """Folders below `folder`; programs that would change this machine are stubs that record their arguments there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("etc", "var/lib", "usr/local/sbin", "run/lock", "run/systemd/system", "opt"):
            (folder / name).mkdir(parents=True)
        for name in ("stubs/installed", "stubs/units", "hugepages/hugepages-2048kB"):
            (folder / name).mkdir(parents=True)
        # this machine's own kernel would reserve the memory, and keep it
        self.huge_pages = folder / "hugepages/hugepages-2048kB/nr_hugepages"
        self.huge_pages.write_text("0\n")
        for name in ("passwd", "group", "nsswitch.conf", "alternatives"):
            source = Path("/etc") / name
            if source.is_dir():
                shutil.copytree(source, folder / "etc" / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, folder / "etc" / name)
        for name, text in STUBS.items():
            program = folder / "usr/local/sbin" / name
            program.write_text(f"#!/bin/bash\n{text}\n")
            program.chmod(0o755)

    def run(self, script: str) -> Finished:
        """Run the script by bash from its standard input, as root."""
        command = ["unshare", "--mount", "--propagation=private", "bash", "-c", _SCRIPT, str(self.folder)]
        return run(command, deadline_seconds=120, standard_input=script.encode())

    def done(self, script: str) -> str:
        """Run a script that must succeed; returns all that it printed."""
        finished = self.run(script)
        assert finished.exit_status == 0, f"{finished.text}{finished.error_text}"
        return finished.text + finished.error_text

    def path(self, name: str) -> Path:
        """Where a file of the machine is for this test."""
        return self.folder / name.lstrip("/")

    def install(self, *packages: str) -> None:
        """Have packages."""
        for name in packages:
            (self.folder / "stubs/installed" / name).touch()

    def calls(self, program: str) -> list[str]:
        """The arguments of each call of a stub, one line per call."""
        log = self.folder / "stubs" / program
        return log.read_text().splitlines() if log.exists() else []
