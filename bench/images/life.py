"""R6 and R13, and the bytes moved at each step: a guest's disk goes to a host, back, to another host, and back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import lab.instruments
from bench.images.site import GOLDEN_MB, GUEST, NAS, POOL, VOLUME, ImageSite, Moved, wait_until
from bench.table import Found, Row
from lab.machines.machine import LabMachine
from rocks.core.errors import ToolError

LIMIT = 0.02
WHAT = "NAS bytes of a second start on the same host / of the first"
LOCAL_WHAT = "NAS bytes read by a guest whose image is local"

_LOCAL_SECONDS = 15
_VERIFIER = "/root/verifier.py"
_SECTOR_BYTES = 512
_BYTES_PER_MIB = 2**20
_COUNT_SECONDS = 90


class Step(NamedTuple):
    """A step of the life: its name, the bytes on the NAS's cable, and its duration."""

    what: str
    moved: Moved
    seconds: float


def measure(site: ImageSite) -> Found:
    """The whole life with the guest that counts; after each return the NAS's volume is compared bit for bit."""
    first, second = site.hosts()
    _prepare(site)
    steps = [_start(site, first, f"boot on {first.name}, to the first count"), _become_local(site, first)]
    first_sent = steps[0].moved.sent + steps[1].moved.sent
    local = _read_once_local(site, first)
    steps.append(_stop(site, first))
    steps.append(_start(site, first, f"second start on {first.name}, local at once"))
    second_start = _second_start(steps[-1].moved.sent, first_sent)
    if site.table(first) != "linear":
        raise ToolError(f"{VOLUME} was not local at once when it was started on {first.name} again")
    steps.append(_stop(site, first))
    for host in (second, first):
        site.done("set", "host", "vm", GUEST, f"physnode={host.name}")
        steps.append(_start(site, host, f"start on {host.name}, to the first count"))
        steps.append(_become_local(site, host))
        steps.append(_stop(site, host))
    return Found([second_start, local], (_table(steps),))


def _table(steps: Sequence[Step]) -> str:
    lines = [f"{'':44}{'NAS sent':>12}{'NAS received':>14}{'time':>8}"]
    for step in steps:
        sent, received = (f"{count / _BYTES_PER_MIB:.2f} MiB" for count in step.moved)
        lines.append(f"{step.what:44}{sent:>12}{received:>14}{step.seconds:6.0f} s")
    title = (
        f"Bytes over the NAS's cable in the life of an image of {GOLDEN_MB} MiB, all of them random; headers, messages "
        "and the looking on included:"
    )
    return "\n".join([title, "", "```", *lines, "```"])


def _prepare(site: ImageSite) -> None:
    site.nas.copy_in(Path(lab.instruments.__file__).parent / "verifier.py", _VERIFIER)
    if site.state(VOLUME) == "absent":
        site.add_clone(VOLUME)
        site.done("set", "host", "vm", "nas", GUEST, f"nas={NAS}", f"zpool={POOL}")
    site.put_guest("counting")


def _start(site: ImageSite, host: LabMachine, what: str) -> Step:
    def start() -> None:
        before = site.count(host)
        site.done("start", "host", "vm", GUEST)
        wait_until(
            lambda: site.count(host) not in (0, before), f"{GUEST} to count on {host.name}", _COUNT_SECONDS
        )

    return _step(site, what, start)


def _become_local(site: ImageSite, host: LabMachine) -> Step:
    return _step(site, "it becomes local there", lambda: site.wait_until_local(host))


def _stop(site: ImageSite, host: LabMachine) -> Step:
    def stop() -> None:
        site.done("stop", "host", "vm", GUEST)
        site.wait_for_state(VOLUME, "unmapped")

    step = _step(site, "written back", stop)
    reported = site.count(host)
    judged = site.nas.run_any(
        ["python3", _VERIFIER, f"/dev/zvol/{POOL}/{VOLUME}", f"at-least={reported}"], 60
    )
    if judged.exit_status != 0:
        raise ToolError(
            f"the data written back from {host.name} differs from the data that the guest wrote: {judged.text}"
        )
    return step


def _step(site: ImageSite, what: str, work: Callable[[], None]) -> Step:
    before, begin = site.moved(), time.monotonic()
    work()
    return Step(what, site.moved().since(before), time.monotonic() - begin)


def _second_start(second: int, first: int) -> Row:
    ratio = second / first
    how = (
        f"{second / _BYTES_PER_MIB:.3f} MiB / {first / _BYTES_PER_MIB:.2f} MiB out of the NAS's cable, messages and "
        "looking on included"
    )
    return Row("R6", WHAT, f"{100 * ratio:.2f} %", f"<= {100 * LIMIT:g} %", ratio <= LIMIT, how)


def _read_once_local(site: ImageSite, host: LabMachine) -> Row:
    """The bytes read from the NAS's volumes, by its kernel, while the guest reads and writes its own disk."""
    if host.run_any(["iscsiadm", "-m", "session"]).exit_status == 0:
        raise ToolError(f"{host.name} still has a session with the NAS after {VOLUME} had become local")
    before, own_before = _read_bytes(site.nas, "zd"), _read_bytes(host, "dm-")
    time.sleep(_LOCAL_SECONDS)
    read = _read_bytes(site.nas, "zd") - before
    own = _read_bytes(host, "dm-") - own_before
    if own == 0:
        raise ToolError(f"{GUEST} read nothing of its own disk in {_LOCAL_SECONDS} s")
    how = (
        f"all volumes of the NAS, by its kernel, over {_LOCAL_SECONDS} s in which the guest read {own // 1024} KiB of "
        "its disk; no session remains"
    )
    return Row("R13", LOCAL_WHAT, f"{read} B", "0 B", read == 0, how)


def _read_bytes(machine: LabMachine, prefix: str) -> int:
    lines = [line.split() for line in machine.run(["cat", "/proc/diskstats"]).text.splitlines()]
    return sum(int(line[5]) * _SECTOR_BYTES for line in lines if line[2].startswith(prefix))
