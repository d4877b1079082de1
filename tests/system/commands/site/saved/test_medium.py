"""`rocks save site medium=…`: what the installation of another machine needs, in a folder or on a device."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.process import run, run_checked
from rocks.site import medium as site_medium
from rocks.site.questions import read_answers_text
from tests.system.commands.conftest import Site
from tests.system.commands.site.saved.conftest import Machine
from tests.system.commands.site.saved.test_saved_site import assert_restored

_INSTALLED_WITH = """\
Kickstart_PrivateHostname = head
install_disk = serial=A, serial=B
install_private_mac = 52:54:00:00:01:00
install_overwrite = yes
install_timezone = Europe/Berlin
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files by which root of this machine logs in: there are none."""
    monkeypatch.setattr(site_medium, "_ROOTS_KEYS", tmp_path / "authorized_keys")
    monkeypatch.setattr(site_medium, "_SHADOW", tmp_path / "shadow")
    return tmp_path


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Path]:
    """A blank device of 16 MB."""
    with (tmp_path / "stick").open("wb") as file:
        file.truncate(16 << 20)
    made = run(["losetup", "--find", "--show", str(tmp_path / "stick")], deadline_seconds=20)
    if made.exit_status != 0:
        pytest.skip(f"there is no loop device: {made.error_text}")
    yield Path(made.text.strip())
    run(["losetup", "--detach", made.text.strip()], deadline_seconds=20)


def test_a_folder_makes_the_frontend_again(
    old: Machine, new: Machine, site: Site, secret: str, silent_hosts: None, root: Path, tmp_path: Path
) -> None:
    """Its answers are those of the installation without the names of one machine; written again, they stay."""
    (old.etc / "installation/site").mkdir(parents=True)
    (old.etc / "installation/site/answers").write_text(_INSTALLED_WITH)
    (old.etc / "keys").mkdir()
    (old.etc / "keys/site.asc").write_text("a key")
    (root / "authorized_keys").write_text("# of the operator\nssh-ed25519 AAAA operator\n")
    site.done("add host interface head eth0 ip=10.1.1.1 subnet=private")
    folder = tmp_path / "medium"
    folder.mkdir()
    ended = site.rocks("save site", f"medium={folder}", secret)
    assert (ended.status, ended.out) == (0, f"saved: {folder}\n"), ended
    answers = (folder / "answers").read_text()
    assert set(answers.splitlines()) > {
        "Kickstart_PrivateAddress = 10.1.1.1",
        "install_disk = smallest, smallest",
        "install_timezone = Europe/Berlin",
        "install_root_key = ssh-ed25519 AAAA operator",
        "install_restore = site.saved",
    }
    assert "mac" not in answers and "overwrite" not in answers
    read_answers_text(answers)
    digest = hashlib.sha256((folder / "site.saved").read_bytes()).hexdigest()
    about = (folder / "site.saved.about").read_text()
    assert about.startswith("frontend = head\nversion = ") and f"sha256 = {digest}\n" in about
    assert (folder / "keys/site.asc").read_text() == "a key"

    (folder / "answers").write_text(answers.replace("Berlin", "Paris"))
    site.done("add host compute-0-1")
    assert site.rocks("save site", f"medium={folder}", secret).status == 0
    assert (folder / "answers").read_text() == answers.replace("Berlin", "Paris")
    shutil.rmtree(old.etc / "installation")
    new.use()
    assert site.rocks("restore site", str(folder / "site.saved"), secret).status == 0
    assert_restored(new, old)


@pytest.mark.parametrize(
    ("shadow", "line", "notice"),
    [
        (
            "root:$y$j9T$abcdef:1:::\n",
            "install_root_password_hash = $y$j9T$abcdef\n",
            "the hash of root's password",
        ),
        ("root:*:1:::\n", "", "add install_root_key to answers"),
    ],
)
def test_root_without_a_key(
    old: Machine, site: Site, secret: str, root: Path, tmp_path: Path, shadow: str, line: str, notice: str
) -> None:
    (root / "shadow").write_text(shadow)
    site.done("add host interface head eth0 ip=10.1.1.1 subnet=private")
    (tmp_path / "medium").mkdir()
    ended = site.rocks("save site", f"medium={tmp_path / 'medium'}", secret)
    answers = (tmp_path / "medium/answers").read_text()
    assert ended.status == 0 and notice in ended.err and line in answers and "install_root_key" not in answers


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "set attr Kickstart_PublicInterface eth0:1",
            "Kickstart_PublicInterface is eth0:1, and the installer sets",
        ),
        (
            "UPDATE attributes SET Value = '192.0.2.1 192.0.2.2' WHERE Attr = 'Kickstart_PublicDNSServers'",
            "Kickstart_PublicDNSServers: The ip address",
        ),
        ("set attr Kickstart_PublicGateway 203.0.113.9", "is outside of the public network"),
        ("remove attr Kickstart_PrivateNetmask", "Kickstart_PrivateNetmask is missing"),
        (
            "UPDATE appliances SET Name = 'head' WHERE Name = 'login'",
            "Kickstart_PrivateHostname: head is the name of an appliance",
        ),
    ],
)
def test_a_site_that_the_installer_would_refuse_is_not_written(
    old: Machine, site: Site, secret: str, root: Path, tmp_path: Path, change: str, problem: str
) -> None:
    """VLAN devices, which `create site` permits as well, are installed."""
    folder = tmp_path / "medium"
    folder.mkdir()
    for name, value in {
        "PrivateInterface": "eth0",
        "PrivateAddress": "10.1.1.1",
        "PrivateNetmask": "255.255.0.0",
        "PublicInterface": "eth0.100",
        "PublicAddress": "192.0.2.9",
        "PublicNetmask": "255.255.255.0",
        "PublicDNSServers": "192.0.2.1",
    }.items():
        site.done("set attr", f"Kickstart_{name}", value)
    assert site.rocks("save site", f"medium={folder}", secret).status == 0
    assert "Kickstart_PublicInterface = eth0.100\n" in (folder / "answers").read_text()
    shutil.rmtree(folder)
    folder.mkdir()
    if change.startswith("UPDATE"):  # as earlier programs have left it
        site.change(change)
    else:
        site.done(change)
    refused = site.refused("save site", f"medium={folder}", secret)
    assert problem in refused and "rocks set attr NAME VALUE" in refused
    assert not list(folder.iterdir())


def test_the_key_of_root_is_one_that_lets_in(
    old: Machine, site: Site, secret: str, root: Path, tmp_path: Path
) -> None:
    """Never one of a forced command; one without options before one that may be for a place; of a token, too."""
    (tmp_path / "medium").mkdir()
    site.done("add host interface head eth0 ip=10.1.1.1 subnet=private")
    lines = [
        'command="backup" ssh-rsa AAAA b',
        'from="10.0.0.0/8" ssh-rsa AAAA c',
        "sk-ssh-ed25519@openssh.com AAAA Jörg d",
    ]
    for present, taken in ((lines[:2], lines[1]), (lines, "sk-ssh-ed25519@openssh.com AAAA Jrg d")):
        (tmp_path / "medium/answers").unlink(missing_ok=True)
        (root / "authorized_keys").write_text("\n".join(present))
        assert site.rocks("save site", f"medium={tmp_path / 'medium'}", secret).status == 0
        assert f"install_root_key = {taken}\n" in (tmp_path / "medium/answers").read_text()


def test_places_that_are_refused(old: Machine, site: Site, secret: str, root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "answers").write_text("install_disk = smallest\n")
    for place, reason in (
        (other, "has a file answers that is not of such a medium"),
        (other / "answers", "is neither a device nor a folder"),
        (tmp_path / "absent", "is neither a device nor a folder"),
        (Path("/dev/null"), "is neither a device nor a folder"),
    ):
        assert reason in site.refused("save site", f"medium={place}", secret)
    assert "not both" in site.refused("save site", f"medium={tmp_path}", "file=/root/x", secret)
    assert [path.name for path in other.iterdir()] == ["answers"]


def test_a_device_gets_the_label_and_one_with_data_stays(
    old: Machine, site: Site, secret: str, root: Path, device: Path, tmp_path: Path
) -> None:
    """An earlier medium is replaced; nothing is left in the folder of copies."""
    site.done("add host interface head eth0 ip=10.1.1.1 subnet=private")
    for _ in range(2):
        ended = site.rocks("save site", f"medium={device}", secret)
        assert (ended.status, ended.out) == (0, f"saved: {device}\n"), ended
    assert not list(old.backup.glob("*"))
    tag = run_checked(["blkid", "-p", "-o", "value", "-s", "LABEL", str(device)], deadline_seconds=20)
    assert tag.text == "ROCKS_SITE\n"
    run_checked(
        ["xorriso", "-osirrox", "on", "-indev", f"stdio:{device}", "-extract", "/", str(tmp_path / "read")],
        deadline_seconds=60,
    )
    assert {path.name for path in (tmp_path / "read").iterdir()} == {
        "answers",
        "site.saved",
        "site.saved.about",
    }
    descriptor = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        assert f"{device} is in use" in site.refused("save site", f"medium={device}", secret)
    finally:
        os.close(descriptor)
    for arguments, kind in (
        (["mke2fs", "-q", "-F", "-L", "ROCKS_SITE", str(device)], "has data (ext"),
        (["sh", "-c", f"head -c 16M /dev/zero >{device}; echo x >{device}"], "has data (of an unknown kind)"),
    ):
        run_checked(arguments, deadline_seconds=30)
        before = device.read_bytes()
        assert kind in site.refused("save site", f"medium={device}", secret)
        assert device.read_bytes() == before
