"""The operator's guide: its commands that need the database only, in their order, as printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .conftest import Site

PAGE = Path(__file__).resolve().parents[3] / "docs/guide/operator.md"
ELSEWHERE = (
    "add host certificate", "add host storageimg", "check site", "list host install", "list host storagemap",
    "open host console", "report host profile", "start host vm", "stop cluster", "sync", "list cluster",
)  # fmt: skip
"""Commands that ask hosts, daemons or the broker, or write below /etc."""


def typed() -> list[list[str]]:
    """The arguments of each `rocks` command of the page."""
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^rocks ([^|\n]*)", blocks, re.MULTILINE)
    return [shlex.split(line) for line in lines]


def test_the_commands_of_the_page_agree_with_each_other(vm_site: Site) -> None:
    for name in ("vmc-0-0", "vmc-0-1"):
        vm_site.done("remove", "host", name)
    executed = 0
    for arguments in typed():
        if " ".join(arguments).startswith(ELSEWHERE):
            continue
        if arguments[:2] == ["discover", "host"]:
            given = dict(word.split("=") for word in arguments[2:])
            for rank in range(int(given["count"])):
                name = f"{given['appliance']}-0-{rank}"
                vm_site.done("add", "host", name)
                address = f"ip=10.1.{255 if given['appliance'] == 'nas' else 254}.{rank + 1}"
                vm_site.done("add", "host", "interface", name, "eth0", address, "subnet=private")
            continue
        ended = vm_site.rocks(*arguments)
        assert ended.status == 0, (arguments, ended)
        executed += 1
    assert executed >= 12
    assert "vm-vc1-1" in vm_site.done("list", "host", "vm")
    assert "vmpool" in vm_site.done("list", "host", "attr", "vm-container-0-2")
    for host in ("nas-0-0", "vm-container-0-2"):
        assert "bash" in vm_site.done("report", "host", "profile", host)
