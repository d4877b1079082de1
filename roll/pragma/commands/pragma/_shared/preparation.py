"""Prepares an image without cloud-init: a program of it copies vc-out.xml from the disk CIDATA to /root at each start.

It is done once for an image, by debugfs: nothing is mounted, and no program of the image runs. Source of what is
renamed: the second generation's driver, which did it for each machine.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from rocks.core.errors import HostError
from rocks.core.process import run
from rocks.core.terminal import one_line

from .ext_files import debugfs, names_in, root_of
from .image_check import PROGRAM, has_cloud_init

_PROGRAM = f"/etc/{PROGRAM}"
_TEXT = """#!/bin/sh
# Copies vc-out.xml of the disk CIDATA to /root, before network and agents read it.
device=$(findfs LABEL=cidata || findfs LABEL=CIDATA) || exit 0
folder=$(mktemp -d /root/.vc-out.XXXXXX) || exit 1 # not in /tmp, which systemd empties meanwhile
mount -o ro "$device" "$folder" || { rmdir "$folder"; exit 1; }
[ ! -f "$folder/vc-out.xml" ] ||
  { (umask 077; cp "$folder/vc-out.xml" /root/vc-out.xml.new) && mv /root/vc-out.xml.new /root/vc-out.xml; }
umount "$folder"
rmdir "$folder"
"""
_UNIT = f"""[Unit]
Description=Copy vc-out.xml from the disk CIDATA
DefaultDependencies=no
Wants=network-pre.target
After=local-fs.target systemd-udev-trigger.service
Before=network-pre.target vc-out-parser.service dynip.service

[Service]
Type=oneshot
ExecStart={_PROGRAM}
"""
_UNITS = "/etc/systemd/system"
_SERVICE = "pragma-vc-out.service"
_WANTS = "multi-user.target.wants"
_LINK = "S04pragma-vc-out"
"""In the folders of SysV's runlevels: vc-out-parser has 05, the network of Red Hat's family 10."""
_INTERFACE = re.compile(r"ifcfg-eth[0-9]{1,4}")
_RULES = "70-persistent-net.rules"
_SCRIPTS = "/etc/sysconfig/network-scripts"
_SECONDS = 3600.0
_RECOVERY_MEMORY_BYTES, _RECOVERY_SECONDS = 1 << 30, 600


def prepare_image(image: Path) -> bool:
    """Whether the raw image was changed.

    It is one without cloud-init, with a root file system of ext2, ext3 or ext4, and with something that starts the
    program: systemd, or runlevels as Red Hat has them.

    HostError for a file system that is damaged, or that does not take the files.
    """
    place = root_of(image)
    if place is None or not names_in(place, "/etc") or has_cloud_init(place):
        return False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program").write_text(_TEXT)
        (folder / "unit").write_text(_UNIT)
        lines, expected = _plan(place, folder)
        if not lines:
            return False
        _recover(place, image.stat().st_size)
        (folder / "commands").write_text("".join(f"{line}\n" for line in lines))
        debugfs(place, "-w", "-f", str(folder / "commands"), max_bytes=image.stat().st_size)
    contents = {_PROGRAM: _TEXT, f"{_UNITS}/{_SERVICE}": _UNIT}
    for path in expected:
        parent, _, own = path.rpartition("/")
        # a full one has room for a name where it has none for the content
        is_whole = path not in contents or debugfs(place, "-R", f"cat {path}") == contents[path]
        if not is_whole or own not in names_in(place, parent):
            raise HostError(f"the file system of the image does not take {path}; is it full?")
    return True


def _recover(place: str, max_bytes: int) -> None:
    """Replay the journal of a file system that was not unmounted: debugfs would write beside it.

    The author of the image chooses what e2fsck reads: its memory, its time and what it writes are bounded.
    """
    bounds = [
        f"--as={_RECOVERY_MEMORY_BYTES}",
        f"--cpu={_RECOVERY_SECONDS}",
        f"--fsize={max_bytes}",
        "--core=0",
    ]
    ended = run(["prlimit", *bounds, "/usr/sbin/e2fsck", "-p", place], deadline_seconds=_SECONDS)
    if ended.exit_status not in (0, 1):  # negative: the signal by which a bound has ended it
        reason = one_line(ended.text.strip())[-200:] or f"e2fsck ended with {ended.exit_status}"
        raise HostError(f"the file system of the image is damaged: {reason}")


def _plan(place: str, folder: Path) -> tuple[list[str], list[str]]:
    """Commands of debugfs, and the paths that are there afterwards; none where nothing would start the program."""
    files = [(folder / "program", _PROGRAM, "0100755")]
    links = []
    if any(
        "sysinit.target" in names_in(place, f"{parent}/systemd/system") for parent in ("/lib", "/usr/lib")
    ):
        files.append((folder / "unit", f"{_UNITS}/{_SERVICE}", "0100644"))
        links.append((f"{_UNITS}/{_WANTS}/{_SERVICE}", f"{_UNITS}/{_SERVICE}"))
    else:
        levels = [f"/etc/rc.d/rc{level}.d" for level in (3, 5)]
        links += [(f"{level}/{_LINK}", _PROGRAM) for level in levels if names_in(place, level)]
    if not links:
        return [], []
    moves = [(f"{_SCRIPTS}/{name}", f"{_SCRIPTS}/old-{name}") for name in sorted(names_in(place, _SCRIPTS))
             if _INTERFACE.fullmatch(name)]  # fmt: skip
    if _RULES in names_in(place, "/etc/udev/rules.d"):
        # udev reads each *.rules in rules.d
        moves.append((f"/etc/udev/rules.d/{_RULES}", f"/etc/udev/old-{_RULES}"))
    folders = [("/etc/systemd", "system"), (_UNITS, _WANTS)] if len(files) > 1 else []
    # debugfs makes a folder without a name where there is one already
    lines = [f"mkdir {parent}/{name}" for parent, name in folders if name not in names_in(place, parent)]
    for source, path, mode in files:
        lines += [f"rm {path}", f"write {source} {path}", f"sif {path} mode {mode}"]
    for path, target in links:
        lines += [f"rm {path}", f"symlink {path} {target}"]
    for old, new in moves:
        lines += [f"rm {new}", f"link {old} {new}", f"unlink {old}"]
    return lines, [path for path, *_ in (*[one[1:] for one in files], *links)] + [new for _, new in moves]
