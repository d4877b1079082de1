"""Names of the site: reports, BIND's own checks of them, and a real named that is asked."""

from __future__ import annotations

import os
import re
import subprocess  # noqa: TID251 - the service is started and ended as a process
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.process import run, run_checked

from .conftest import Site

CHECKOUT = Path(__file__).parents[3]
DEVICE, FAR = "names0", "names1"


@pytest.fixture
def named_site(vm_site: Site, tmp_path: Path) -> Site:
    """The site with names of all kinds, and folders that named's user can enter."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and not folder.stat().st_mode & 0o1:
            folder.chmod(folder.stat().st_mode | 0o11)
    vm_site.done("set", "network", "servedns", "public", "yes")
    vm_site.done("add", "network", "ib", "10.2.16.0", "255.255.252.0", "dnszone=ib.local", "servedns=yes")
    vm_site.done("add", "network", "dark", "192.0.2.0", "255.255.255.0", "dnszone=dark.example")
    vm_site.done("add", "host", "interface", "vmc-0-0", "ib0", "ip=10.2.17.9", "subnet=ib", "name=vmc-0-0-ib")
    vm_site.done("add", "host", "interface", "vmc-0-0", "eth7", "ip=192.0.2.9", "subnet=dark")
    vm_site.done("add", "host", "node_1", "membership=compute", "rack=1", "rank=1")
    vm_site.done("add", "host", "interface", "node_1", "eth0", "ip=10.1.3.4", "subnet=private", "name=node_1")
    vm_site.done("add", "host", "bare-0", "membership=compute", "rack=1", "rank=2")
    vm_site.done("add", "host", "alias", "node_1", "first")
    vm_site.done("add", "host", "alias", "vmc-0-0", "www.example.org")
    (tmp_path / "dns/zones").mkdir(parents=True)
    (tmp_path / "dns-run").mkdir(mode=0o777)
    (tmp_path / "dns-run").chmod(0o777)
    return vm_site


@pytest.fixture
def served(named_site: Site, tmp_path: Path) -> Iterator[Site]:
    """The site with a running named, which the command has become."""
    run_checked(["ip", "link", "add", DEVICE, "type", "veth", "peer", "name", FAR], deadline_seconds=10)
    for address in ("10.1.0.1/16", "203.0.113.2/24"):
        run_checked(["ip", "address", "add", address, "dev", DEVICE], deadline_seconds=10)
    for device in (DEVICE, FAR, "lo"):
        run_checked(["ip", "link", "set", device, "up"], deadline_seconds=10)
    rocks = [str(CHECKOUT / "bin/rocks"), "start", "service", "dns"]
    process = subprocess.Popen(rocks, env=dict(os.environ), stderr=subprocess.PIPE, text=True)
    try:
        answer = ""
        for _ in range(300):
            answer = ask("head.local")
            if answer or process.poll() is not None:
                break
            time.sleep(0.1)
        assert answer == "10.1.0.1", (
            process.stderr.read() if process.poll() is not None and process.stderr else ""
        )
        yield named_site
    finally:
        process.kill()
        process.wait()
        run(["ip", "link", "del", DEVICE], deadline_seconds=10)


def ask(name: str, *more: str) -> str:
    """What the server answers, without blanks at its ends."""
    line = ["dig", "+short", "+time=2", "+tries=1", "@10.1.0.1", *more, name]
    return " ".join(
        one for one in run(line, deadline_seconds=20).text.split("\n") if one and not one.startswith(";")
    )


def blocks(report: str) -> dict[str, str]:
    """File name → text, of a report with files."""
    return dict(re.findall(r'<file name="[^"]*/([^"/]+)">\n(.*?)</file>\n', report, re.DOTALL))


def test_every_zone_passes_the_check_of_bind(named_site: Site, tmp_path: Path) -> None:
    zones = blocks(named_site.done("report", "zones"))
    assert list(zones) == [
        *("example.org", "ib.local", "local"),
        *("1.10.in-addr.arpa", "113.0.203.in-addr.arpa"),
        *(f"{number}.2.10.in-addr.arpa" for number in (16, 17, 18, 19)),
    ]
    for name, text in zones.items():
        path = tmp_path / name
        path.write_text(text)
        done = run(["named-checkzone", "-k", "ignore", name, str(path)], deadline_seconds=20)
        assert done.exit_status == 0 and done.text.endswith("OK\n"), done.text
    assert "node_1 IN A 10.1.3.4\nfirst IN A 10.1.3.4\n" in zones["local"]
    assert "dark" not in "".join(zones.values()) and "bare" not in "".join(zones.values())


def test_the_configuration_passes_the_check_of_bind(named_site: Site, tmp_path: Path) -> None:
    (text,) = blocks(named_site.done("report", "named")).values()
    (tmp_path / "named.conf").write_text(text)
    run_checked(["named-checkconf", str(tmp_path / "named.conf")], deadline_seconds=20)
    assert "forwarders { 198.51.100.7; 198.51.100.8; };" in text
    assert "listen-on { 127.0.0.1; 10.1.0.1; 203.0.113.2; };" in text
    assert "192.0.2" not in text


def test_a_named_answers_what_the_database_has(served: Site, tmp_path: Path) -> None:
    assert ask("vmc-0-0-ib.ib.local") == "10.2.17.9"
    assert ask("FIRST.local") == "10.1.3.4"
    assert ask("head.example.org") == "203.0.113.2"
    assert ask("9.17.2.10.in-addr.arpa", "-t", "PTR") == "vmc-0-0-ib.ib.local."
    assert ask("4.3.1.10.in-addr.arpa", "-t", "PTR") == "node_1.local."
    assert ask("bare-0.local") == ""
    assert "Transfer failed" in run(["dig", "@10.1.0.1", "-t", "AXFR", "local"], deadline_seconds=20).text
    serial = int(ask("local", "-t", "SOA").split()[2])
    assert served.done("sync", "dns") == f"changed: {tmp_path}/etc-hosts\n"
    assert served.done("sync", "dns") == ""
    assert served.done("add", "host", "alias", "vmc-0-1", "second") == ""
    wait_for("second.local", "10.1.0.3")
    served.done("remove", "host", "node_1")
    wait_for("first.local", "")
    assert int(ask("local", "-t", "SOA").split()[2]) > serial
    served.done("set", "network", "zone", "ib", "fast.example")
    changed = served.done("sync", "dns").splitlines()
    assert changed == [
        f"changed: {tmp_path}/{name}"
        for name in (
            "etc-hosts",
            *(
                "dns/named.conf",
                "dns/zones/fast.example",
                "dns/zones/17.2.10.in-addr.arpa",
                "dns/zones/ib.local",
            ),
        )
    ]
    wait_for("vmc-0-0-ib.fast.example", "10.2.17.9")
    assert not (tmp_path / "dns/unread").exists()
    (tmp_path / "dns/unread").touch()
    assert served.done("sync", "dns") == ""
    assert not (tmp_path / "dns/unread").exists()


def wait_for(name: str, expected: str) -> None:
    """Until named, which reads its files in the background, answers so."""
    for _ in range(100):
        if ask(name) == expected:
            return
        time.sleep(0.1)
    assert ask(name) == expected
