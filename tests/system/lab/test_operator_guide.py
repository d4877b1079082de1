"""The operator's guide: its blocks are typed as printed, in their order, as far as machines of namespaces can go."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.lab.operator_site import HOSTS, GuideSite
from tests.unit.docs.pages import operator_blocks

ADDRESSES = ("10.1.255.254", "10.1.255.253", "10.1.255.252", "10.1.255.251")
_INSTALLED = """\
rocks add host certificate head
rocks sync host certificate head
rocks sync broker
"""
"""What `install` of the frontend's ISO runs behind `rocks create site`, without rolls. Its profile is left to the next
block: here services are started by the profile itself, and keep its lock.
"""


@pytest.fixture
def site(machines_folder: Path) -> Iterator[GuideSite]:
    """The machines of the page, all blank but the frontend, which has Debian and the programs."""
    for program in ("/usr/sbin/dnsmasq", "/usr/sbin/rabbitmqctl", "/usr/bin/curl"):
        if not Path(program).exists():
            pytest.skip(f"{program} is not installed (tools/setup test)")
    (machines_folder / "guide").mkdir()
    found = GuideSite(machines_folder / "guide")
    try:
        found.start()
        yield found
    finally:
        found.stop()


def test_the_blocks_make_a_site(site: GuideSite) -> None:
    """Without the ISOs, and without what needs daemons of hosts: starts, and the guide's section 9."""
    answers, _ = operator_blocks(2)
    assert site.type(answers) == ("", [])
    made = site.type("rocks create site answers=/root/site/answers\n")
    assert made.text.startswith(
        "entered: frontend head, private 10.1.1.1 on eth0, public 203.0.113.2 on eth1\n"
    )
    site.serve_installer()

    installed = site.type(_INSTALLED)
    assert installed.failed == ["rocks sync broker"], "the broker does not run before the profile"
    (services,) = operator_blocks(3)
    typed = site.type(services)
    assert typed.failed == [], typed.text
    users = site.type("rocks sync broker\n")
    for line in (
        "changed: unit rocks-kickstart.service started",
        "changed: unit rocks-boot.service started",
        "changed: unit rabbitmq-server.service started",
        "users: head\n",
    ):
        assert line in typed.text + users.text

    nas, hosts, install = operator_blocks(5)
    found = site.discover(nas, 0).text + site.discover(hosts, 1, 2, 3).text
    for name, address in zip(HOSTS, ADDRESSES, strict=True):
        assert f" is {name}, {address}; to be installed\n" in found
    assert "Warning" not in found
    for name, address in zip(HOSTS, ADDRESSES, strict=True):
        assert "the image daemon waits for its certificate" in site.install(name, address)
    typed = site.type(install)
    assert typed.failed == [], typed.text
    assert f"users of the broker: head {' '.join(HOSTS)}" in typed.text
    for name in HOSTS:
        printed = [line for line in typed.text.splitlines() if line.startswith(f"{name}: ")]
        assert printed[0] == f"{name}: configured" and printed[-1] == f"{name}: complete", typed.text
        assert f"{name}: names written" in printed and f"{name}: has its certificate" in printed
        assert len(printed) > 4, "the profile has started the image daemon"
    again = site.type(install)
    assert again.failed == [] and again.text.count(": complete") == len(HOSTS)
    assert "names written" not in again.text and "started" not in again.text, again.text

    (check,) = operator_blocks(6)
    typed = site.type(check)
    assert typed.failed == ["rocks check site"], "the hosts have no agent here"
    assert "waits for its certificate" not in typed.text
    for name in HOSTS:
        known = (
            site.machines[name].run_checked(["/usr/bin/getent", "hosts", "head", "nas-0-0.local"], 30).text
        )
        assert known.split()[0] == "10.1.1.1" and ADDRESSES[0] in known
    checked = _checks(typed.text)
    for subject in ("interface eth1", "distribution", *(f"certificate {name}" for name in HOSTS)):
        assert checked[subject].startswith("ok "), checked
    assert "nothing answers at" not in typed.text and "no TLS" not in typed.text
    assert "agent" not in checked["host nas-0-0"], "a NAS has none"
    assert "the agent on host" in checked["host vm-container-0-2"]

    site.serve_guest_image()
    typed = site.type("rocks add image debian-12 file=/media/guest/debian-12.img.zst\n")
    assert typed.failed == [] and "debian-12: a disk of " in typed.text, typed.text
    site.type("cp /etc/rocks/ssh/id_ed25519.pub /root/.ssh/authorized_keys\n")
    (cluster,) = operator_blocks(8)
    typed = site.type(cluster)
    assert typed.failed == [] and "nobody can log in" not in typed.text, typed.text
    listed = site.type("rocks list host vm output-col=host\nrocks list host vm nas\n").text
    assert listed.count("vm-container-0-") == 3 and "vm-vc1-1: nas-0-0 tank" in listed


def _checks(text: str) -> dict[str, str]:
    """Subject → result and detail of what `rocks check site` has printed."""
    table = text[text.index("SUBJECT ") :].splitlines()[1:]
    return {line.partition(":")[0]: line.partition(":")[2].strip() for line in table if ":" in line}
