"""The frontend's medium: a fresh machine without a network becomes a frontend; a bad medium changes nothing."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rocks import __version__
from rocks.install.rolls.iso import create_roll
from tests.debs import make_deb
from tests.gnupg import gnupg_folder
from tests.packages.fresh_roots import make_bare_root
from tests.packages.frontend_machine import (
    INSTALL,
    MEDIUM,
    Machine,
    index_packages,
    list_files,
    make_newer_medium,
)
from tests.packages.test_frontend import start_database
from tests.rolls import write_frontend_roll, write_roll

_SEED = 229


def _check_complete(machine: Machine) -> None:
    """It is a whole frontend: packages, site, rolls, distribution; nothing of the installation is left."""
    root = machine.root
    assert "Frontend" in root.done("rocks", "list", "host")
    assert " yes" in root.done("rocks", "list", "roll")
    assert root.done("dpkg", "--audit") == ""
    pool = machine.folder / "export/rocks/install/rocks-dist/x86_64/Debian"
    assert {path.name.partition("_")[0] for path in pool.rglob("*.deb")} >= {"rocks-agent", "rocks-cli"}
    assert not (machine.folder / "usr/sbin/policy-rc.d").exists()
    assert not root.done(
        "sh", "-c", "ls -d /run/rocks-install /export/rocks/install/rolls/.[!.]* 2>/dev/null || true"
    )


def test_a_machine_without_a_network_becomes_a_frontend(machine: Machine, tmp_path: Path) -> None:
    """Repeated, it changes nothing; what is not ready is named."""
    without_database = machine.install()
    assert without_database.exit_status == 1
    assert "start the database with `systemctl start rocks-database.service`" in without_database.error_text
    assert not (machine.folder / "usr/sbin/policy-rc.d").exists()
    start_database(machine.root)
    made = machine.install()
    assert made.exit_status == 0, made.error_text
    assert "entered: frontend head, private 10.9.9.2 on lo" in made.text
    _check_complete(machine)
    assert __version__ in machine.root.done("rocks", "--version")
    lines = machine.root.run("rocks", "check", "site").text.splitlines()
    checked = {line.split(":")[0]: line for line in lines if ": " in line}
    red = {subject for subject, line in checked.items() if " ok " not in line}
    assert red == {"roll os", "clock"}, checked
    assert "rocks add roll os-VERSION.iso" in checked["roll os"]

    enabled = machine.folder / "etc/systemd/system/multi-user.target.wants"
    assert (machine.folder / "usr/sbin/named").exists() and (machine.folder / "usr/sbin/nft").exists()
    assert not os.path.lexists(enabled / "named.service"), "its place is that of rocks-dns.service"
    assert os.path.lexists(enabled / "rabbitmq-server.service"), "by the frontend's profile"
    assert not os.path.lexists(machine.folder / "etc/systemd/system/sockets.target.wants/epmd.socket")
    assert (machine.folder / "usr/share/doc/rocks-cli/guide/operator.md").is_file()

    before = machine.root.done("rocks", "dump")
    again = machine.install()
    assert again.exit_status == 0, again.error_text
    assert "is a frontend already" in again.text and "profile ends: no changes" in again.text
    assert machine.root.done("rocks", "dump") == before

    iso = create_roll(write_roll(tmp_path / "os", "os", "12", "x86_64"), tmp_path)
    shutil.move(iso, machine.folder / "media")
    with_os = machine.install()
    assert with_os.exit_status == 0, with_os.error_text
    assert "enabling the roll os 12" in with_os.text, "it lies beside the medium"
    assert "it has no installer" in machine.root.run("rocks", "check", "site").text, (
        "the roll of the test has none"
    )

    _site_gets_a_key(machine)
    paths = machine.root.paths()
    for arguments in (INSTALL, ("sh", "/media/rocks/install", "unsigned=no")):
        unsigned = machine.root.run(*arguments)
        assert unsigned.exit_status == 1 and "is not signed, and this site has keys" in unsigned.error_text
    assert machine.root.paths() == paths
    taken = machine.root.run("sh", "/media/rocks/install", "unsigned=yes")
    assert taken.exit_status == 0, taken.error_text

    (machine.folder / MEDIUM / "version").write_text("0.0.1-1\n")
    list_files(machine.folder / MEDIUM)
    older = machine.install()
    assert older.exit_status == 1 and "is not taken back to an older version" in older.error_text


def test_rolls_and_the_sites_own_files_take_part_in_the_build(machine: Machine, tmp_path: Path) -> None:
    """Two further rolls, each with a package, a file and a service, and what lies beside the answers; no network."""
    root = machine.root
    for name in ("first", "second"):
        iso = create_roll(write_frontend_roll(tmp_path / name, name), tmp_path)
        shutil.move(iso, machine.folder / f"root/{name} roll.iso")
    site = machine.folder / "root/medium"
    (site / "site-nodes").mkdir(parents=True)
    (site / "site-graphs/default").mkdir(parents=True)
    shutil.copy(machine.folder / "root/site", site / "answers")
    (site / "attributes").write_text(
        "\ufeff# of the rolls\r\nfirst_message = one = two\r\nsecond_message=three\r\n"
    )
    (site / "site-nodes/extend-second.xml").write_text(
        '<kickstart><post><file name="/etc/extended">yes</file></post></kickstart>'
    )
    arguments = ("roll=/root/first roll.iso", "roll=/root/second roll.iso", "/root/medium")
    root.run("sh", "/media/rocks/install", *arguments)
    start_database(root)
    made = root.run("sh", "/media/rocks/install", *arguments)
    assert made.exit_status == 0, made.text + made.error_text
    _check_complete(machine)
    for name, message in (("first", "one = two"), ("second", "three")):
        assert (machine.folder / f"usr/share/{name}/tool").read_text() == "tool\n", "by its package"
        assert (machine.folder / f"etc/{name}.conf").read_text() == f"message = {message}\n"
        assert os.path.lexists(machine.folder / f"etc/systemd/system/multi-user.target.wants/{name}.service")
    assert (machine.folder / "etc/extended").read_text() == "yes\n"
    again = machine.install()
    assert again.exit_status == 0 and "profile ends: no changes" in again.text, again.text + again.error_text


def test_a_saved_site_is_restored_at_the_installation(machine: Machine, medium: Path, tmp_path: Path) -> None:
    """Its records, files and rolls; one needs another, and one is on no medium. A wrong passphrase restores nothing."""
    for name in ("first", "second", "third"):
        needs = "second" if name == "first" else ""
        create_roll(write_frontend_roll(tmp_path / name, name, needs), tmp_path)
    rolls = {path.name.partition("-")[0]: path for path in tmp_path.glob("*.iso")}
    for name in rolls:
        shutil.copy(rolls[name], machine.folder / f"root/{name}.iso")
    install = ("sh", "/media/rocks/install", "roll=/root/first.iso", "roll=/root/second.iso")
    site = machine.folder / "root/start"
    site.mkdir()
    shutil.copy(machine.folder / "root/site", site / "answers")
    values = "".join(f"{name}_message = {name}\n" for name in rolls)
    (site / "attributes").write_text(f"{values}vm-container site_colour = green\n")
    machine.root.run(*install, "/root/start")
    start_database(machine.root)
    made = machine.root.run(*install, "roll=/root/third.iso", "/root/start")
    assert made.exit_status == 0, made.text + made.error_text
    machine.root.done("rocks", "add", "host", "vm-container-0-0", "membership=VM Container", "cpus=4")
    machine.root.done("sh", "-c", "umask 077; echo a long passphrase >/root/passphrase; mkdir /root/medium")
    machine.root.done("rocks", "save", "site", "medium=/root/medium", "passphrase-file=/root/passphrase")
    before = machine.root.done("rocks", "dump")
    assert "site_colour" in machine.root.done("rocks", "list", "appliance", "attr", "vm-container")
    authority = (machine.folder / "etc/rocks/pki/authority/ca.crt").read_bytes()

    other = Machine(make_bare_root(tmp_path / "other"), medium)
    try:
        shutil.copytree(machine.folder / "root/medium", other.folder / "root/medium")
        for name in ("first", "second"):
            shutil.copy(rolls[name], other.folder / f"root/{name}.iso")
        (other.folder / "root/medium/passphrase").write_text("another passphrase\n")
        other.root.run(*install, "/root/medium")
        start_database(other.root)
        refused = other.root.run(*install, "/root/medium")
        assert refused.exit_status == 1 and "the passphrase is wrong" in refused.error_text
        assert "Kickstart_PrivateHostname" not in other.root.done("rocks", "list", "attr")
        (other.folder / "root/medium/passphrase").write_text("a long passphrase\n")
        restored = other.root.run(*install, "/root/medium")
        assert restored.exit_status == 0, restored.text + restored.error_text
        _check_complete(other)
        assert "restored: the site of head" in restored.text
        assert "no medium has the roll third" in restored.text
        assert (
            "/usr/share/first/tool" in other.root.paths()
            and "/usr/share/third/tool" not in other.root.paths()
        )
        assert (other.folder / "etc/rocks/pki/authority/ca.crt").read_bytes() == authority
        after = other.root.done("rocks", "dump")
        lines = [
            [line for line in text.splitlines() if "enable roll" not in line] for text in (before, after)
        ]
        assert "vm-container-0-0" in after and lines[0] == lines[1]
        again = other.root.run(*install, "/root/medium")
        assert again.exit_status == 0 and "profile ends: no changes" in again.text, (
            again.text + again.error_text
        )
    finally:
        other.close()


def _site_gets_a_key(machine: Machine) -> None:
    folder = machine.folder / "etc/rocks/keys"
    folder.mkdir(parents=True, exist_ok=True)
    with gnupg_folder() as keys:
        keys.make("site")
        (folder / "site.asc").write_bytes(keys.gpg("--armor", "--export"))


def test_power_cuts_at_any_step_are_made_good_by_repetition(machine: Machine) -> None:
    """Every process ends at once, at seeded moments; the installation is repeated, and at last it is whole."""
    moments = random.Random(_SEED)
    steps = (
        ("checking the files", 1.0),
        ("reading the list", 1.0),
        ("installing the packages", 5.0),
        ("installing the packages", 25.0),
        ("installing the packages", 60.0),
        ("schema version", 1.0),
        ("adding the rolls", 2.0),
        ("enabling the roll", 1.0),
        ("building the distribution", 3.0),
    )
    reached = []
    for line, most in steps:
        seconds = moments.uniform(0, most)
        # the first that comes to the database ends there: each start of the machine starts it if it is installed
        reached.append(machine.cut_power_after(line, seconds) or machine.cut_power_after(line, seconds))
    assert sum(reached) >= 8, f"seed {_SEED}: {reached}"
    made = machine.install()
    assert made.exit_status == 0, made.error_text
    _check_complete(machine)


def test_an_upgrade_with_power_cuts_keeps_the_site_and_can_be_taken_back(
    machine: Machine, medium: Path, tmp_path: Path
) -> None:
    """The database is as before, a copy of it loads by the printed command, and an older medium is refused."""
    machine.install()
    start_database(machine.root)
    machine.install()
    root = machine.root
    root.done("rocks", "add", "host", "vm-container-0-0", "membership=VM Container", "cpus=4")
    root.done("rocks", "set", "host", "attr", "vm-container-0-0", "vm_container_zpool", "tank")
    before = root.done("rocks", "dump")
    machine.insert(make_newer_medium(medium, tmp_path / "newer", "9.0.0-1"))
    moments = random.Random(_SEED)
    for line, most in (
        ("installing the packages", 3.0),
        ("installing the packages", 15.0),
        ("schema version", 1.0),
    ):
        assert machine.cut_power_after(line, moments.uniform(0, most)), f"{line}: {machine.log}"
        assert _try_older(machine, medium, tmp_path / "newer") in ("refused", "not begun")
    made = machine.install()
    assert made.exit_status == 0, made.error_text
    assert "is a frontend already" in made.text
    _check_complete(machine)
    root = machine.root
    assert root.done("rocks", "dump") == before
    assert "9.0.0-1" in root.done("dpkg-query", "--show", "rocks-cli", "rocks-common")
    assert _try_older(machine, medium, tmp_path / "newer") == "refused"

    (restore,) = [line for line in made.error_text.splitlines() if line.startswith("to restore it: ")]
    root.done("rocks", "remove", "host", "vm-container-0-0")
    root.done("sh", "-c", restore.removeprefix("to restore it: "))
    assert root.done("rocks", "dump") == before


def _try_older(machine: Machine, older: Path, newer: Path) -> str:
    """Install from the older medium, which must not change anything once the newer one has begun with the packages."""
    versions = machine.root.run("dpkg-query", "--show", "rocks-cli", "rocks-common").text
    if "9.0.0-1" not in versions.partition("rocks-common")[0]:
        return "not begun"
    machine.insert(older)
    refused = machine.install()
    machine.insert(newer)
    assert refused.exit_status == 1 and "is not taken back to an older version" in refused.error_text
    assert machine.root.run("dpkg-query", "--show", "rocks-cli", "rocks-common").text == versions
    return "refused"


def test_newer_packages_of_the_machine_get_what_belongs_to_them_from_its_own_sources(
    machine: Machine, tmp_path: Path
) -> None:
    """openssh-server of the medium needs openssh-client of its own version; without a source, both are named."""
    newer = "1:10.9p1-99"
    site = machine.folder / "srv/site"
    site.mkdir(parents=True)
    client = make_deb(machine.folder / "srv", "openssh-client", newer, "amd64")
    machine.root.done("dpkg", "--install", f"/srv/{client.name}")
    refused = machine.install()
    assert refused.exit_status == 1
    assert f"openssh-client {newer} (the medium: 1:" in refused.error_text
    assert "Either connect the machine to its package source" in refused.error_text
    assert machine.root.run("dpkg-query", "--show", "rocks-cli").exit_status != 0

    make_deb(site, "openssh-server", newer, "amd64", f"openssh-client (= {newer})")
    index_packages(site)
    (machine.folder / "etc/apt/sources.list.d").mkdir(exist_ok=True)
    (machine.folder / "etc/apt/sources.list.d/site.list").write_text("deb [trusted=yes] file:/srv/site ./\n")
    accepted = machine.install()
    assert "the database" in accepted.error_text, "it came to the database, which this test does not start"
    versions = machine.root.done("dpkg-query", "--show", "openssh-server", "openssh-client", "rocks-cli")
    assert versions.count(newer) == 2 and __version__ in versions


def test_the_database_of_another_server_is_not_started_here(machine: Machine) -> None:
    machine.install()
    needed = "/opt/rocks/libexec/rocks-database-needed"
    settings = machine.folder / "etc/rocks/database.conf"
    assert machine.root.run(needed).exit_status == 0
    for text, is_needed in (
        ("# host = db\ndatabase = cluster\n", True),
        ("socket = /var/opt/rocks/mysql/mysql.sock\n", True),
        ("host = 192.0.2.7\n", False),
        ("  socket=/run/mysqld/mysqld.sock\n", False),
    ):
        settings.write_text(text)
        assert (machine.root.run(needed).exit_status == 0) == is_needed, text
    settings.write_text("host = 127.0.0.1\nport = 9\n")
    refused = machine.install()
    assert refused.exit_status == 1 and "127.0.0.1:9" in refused.error_text
    assert not (machine.folder / "var/opt/rocks/mysql/data").exists()


def test_two_installations_at_once(machine: Machine) -> None:
    machine.root.done("sh", "-c", 'nohup "$@" >/root/first 2>&1 & sleep 1', "sh", *INSTALL)
    second = machine.install()
    assert second.exit_status == 1 and "another installation is at work on this machine" in second.error_text


def _change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda top: _change(next((top / "repository").glob("rocks-cli_*.deb"))), "checking the files"),
        (lambda top: _truncate(next((top / "repository").glob("rocks-common_*.deb"))), "checking the files"),
        (lambda top: next((top / "repository").glob("rocks-cli_*.deb")).unlink(), "checking the files"),
        (lambda top: (top / "repository/Packages").unlink(), "has no file repository/Packages"),
        (lambda top: (top / "SHA256SUMS").write_text(""), "has no file SHA256SUMS"),
        (lambda top: (top / "repository/more.deb").write_text("x"), "that its list SHA256SUMS does not name"),
        (lambda top: _change(top / "SHA256SUMS"), ""),
    ],
)
def test_a_damaged_medium_installs_nothing(
    machine: Machine, damage: Callable[[Path], object], what: str
) -> None:
    before = machine.root.paths()
    damage(machine.folder / "media/rocks")
    refused = machine.install()
    assert refused.exit_status == 1
    assert what in refused.text + refused.error_text and "Error: " in refused.error_text
    changed = {path for path in machine.root.paths() ^ before if not path.startswith("/media/")}
    assert not changed
    assert not machine.root.done("sh", "-c", "ls -d /run/rocks-install 2>/dev/null || true")


@pytest.mark.parametrize(("name", "number"), [("debian", "11"), ("debian", "14"), ("ubuntu", "24.04")])
def test_a_machine_of_another_release_is_not_touched(machine: Machine, name: str, number: str) -> None:
    (machine.folder / "usr/lib/os-release").write_text(f'ID={name}\nVERSION_ID="{number}"\n')
    before = machine.root.paths()
    refused = machine.install()
    release = (machine.folder / "media/rocks/release").read_text("ascii").strip()
    assert refused.exit_status == 1 and machine.root.paths() == before
    assert refused.error_text.startswith(
        f"Error: this machine runs {name} {number}; the medium is for {release}."
    )
    assert "\n" not in refused.error_text


@pytest.mark.parametrize(
    "arguments",
    [
        ("/root/absent",),
        ("/root",),
        ("/root/site", "more"),
        ("os=/root/absent",),
        ("os=/root", "/root/site"),
        ("os=/media/rocks/version", "os=/media/rocks/version"),
        ("roll=/root/absent",),
    ],
)
def test_wrong_arguments_change_nothing(machine: Machine, arguments: tuple[str, ...]) -> None:
    before = machine.root.paths()
    refused = machine.root.run("sh", "/media/rocks/install", *arguments)
    assert refused.exit_status == 1 and refused.error_text.startswith("Error: ")
    assert machine.root.paths() == before
