"""A daemon is killed at every step of an image's life (R12): nothing is lost, nothing is left, and the life goes on.

`tests/lab/dying_daemon.py` ends itself by SIGKILL before, or after, each kind of effect, of record and of answer, and
in the middle of streams, once each; systemd starts it again.
"""

from pathlib import Path

import pytest

from lab.machines import image_storage
from lab.machines.machine import LabMachine
from tests.lab import dying_daemon
from tests.lab.image_site import GUEST, NAS, VOLUME, ImageSite

SUBJECTS = ("src/rocks/storage", "tests/lab/dying_daemon.py")

_PROGRAM = "/usr/local/lib/dying_daemon.py"
_DEADLINE_SECONDS = 300
_MAX_STARTS = 6

_WHOLE_LIFE = {
    ("nas", "prepare|attach"): "prepare-EnsureBase before",
    ("nas", "seed|switch|merge|in send_all"): "merge-EnsureExportGone after",
    ("nas", "pull|accept|settle|in receive_all"): "accept-VerifyReceived before",
    ("nas", "detach|return|confirm|operation"): "confirm-VerifyReceived after",
    ("vmh1", "LookAtCopy|MapOverlay|request"): "MapOverlay-EnsureSession before",
    ("vmh1", "SeedCopy|in receive_all|rebuild-overlay"): "SeedCopy-ReceiveSeed after",
    ("vmh1", "SwitchOrigin|MergeOverlay|rebuild-merging"): "SwitchOrigin-EnsureLocalOrigin before",
    ("vmh1", "PullCopy|SettleBase|DetachDevice|ReturnCopy|in send_all"): "ReturnCopy-SendSnapshot after",
}
_SHORT_LIFE = {
    ("nas", "attach|leave|drop"): "attach_overlay-EnsureExport after",
    ("vmh1", "DropMap|MapLinear|MapRemote|rebuild"): "DropMap-EnsureDeviceGone before",
}
"""Machine and steps at which its daemon dies; one of those at which it must have died."""


def have_die(machine: LabMachine, steps: str) -> None:
    """From now on the machine's daemon dies at each of those steps, before and after."""
    role = "nas" if machine.name == "nas" else "host"
    unit = image_storage.unit_of(machine)
    machine.write_file(_PROGRAM, Path(dying_daemon.__file__).read_bytes())
    machine.write_file(
        f"/etc/systemd/system/{unit}.d/dying.conf",
        f"[Service]\nExecStart=\nExecStart=/usr/bin/python3 {_PROGRAM} {role} '{steps}'\nRestartSec=100ms\n".encode(),
    )
    machine.shell(f"systemctl daemon-reload\nsystemctl restart --no-block {unit}\n", 60)


def deaths(machine: LabMachine) -> set[str]:
    """The steps at which it died; they are printed, too."""
    died = set(machine.shell(f"ls {dying_daemon.MARKERS}", 60).splitlines())
    print(f"{machine.name} died {len(died)} times: {', '.join(sorted(died))}")
    return died


def write_back(images: ImageSite) -> int:
    """The guest ends; its image is written back whole, and nothing is left. Returns the count."""
    images.site.done("stop", "host", "vm", GUEST)
    reported = images.site.count("vmh1", GUEST)
    images.wait_for_state("unmapped", _DEADLINE_SECONDS)
    written_back = images.count_on_nas(reported)
    assert images.leftovers("vmh1") == []
    return written_back


def start(images: ImageSite) -> None:
    """Have the guest run. A map during which its host is away for a minute is undone, and the start may be repeated."""
    for _ in range(_MAX_STARTS - 1):
        if images.site.rocks("start", "host", "vm", GUEST).exit_status == 0:
            return
    images.site.done("start", "host", "vm", GUEST)


def live_wholly(images: ImageSite) -> None:
    """Copied, switched, merged, pulled, returned."""
    start(images)
    booted = images.site.wait_for_count("vmh1", GUEST, 0, _DEADLINE_SECONDS)
    images.wait_until_local("vmh1", _DEADLINE_SECONDS)
    images.wait_for_state("mapped", _DEADLINE_SECONDS)  # its device is so before a dying daemon can say it
    images.site.done("sync", "host", "storagemap", NAS, VOLUME)
    images.site.wait_for_count("vmh1", GUEST, booted + 8)
    assert write_back(images) >= booted + 8


def live_shortly(images: ImageSite) -> None:
    """Ended before it is copied; started at once from the copy that was kept; at last never copied (img_sync false)."""
    start(images)
    images.site.wait_for_count("vmh1", GUEST, 0, _DEADLINE_SECONDS)
    written_back = write_back(images)
    for sync in ("yes", "no"):
        images.site.done("set", "host", "attr", "vmh1", "img_sync", sync)
        start(images)
        images.site.wait_for_count("vmh1", GUEST, written_back + 4, _DEADLINE_SECONDS)
        before, written_back = written_back, write_back(images)
        assert written_back > before


@pytest.mark.parametrize(("name", "steps"), _WHOLE_LIFE)
def test_whole_life(images: ImageSite, name: str, steps: str) -> None:
    """From the start to the end."""
    machine = images.site.lab[name]
    have_die(machine, steps)
    live_wholly(images)
    assert _WHOLE_LIFE[name, steps] in deaths(machine)


@pytest.mark.parametrize(("name", "steps"), _SHORT_LIFE)
def test_short_life(images: ImageSite, name: str, steps: str) -> None:
    """A guest that ends at once, one on the kept copy, and one whose image stays on the NAS."""
    machine = images.site.lab[name]
    have_die(machine, steps)
    live_shortly(images)
    assert _SHORT_LIFE[name, steps] in deaths(machine)
