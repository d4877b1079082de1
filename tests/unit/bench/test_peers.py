"""Programs of others beside our own: where they come from, and the rows that name them."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import ansible_starts, ganeti, image_copies, one_start, peers
from rocks.core.errors import ToolError
from rocks.core.image_blocks import Content
from rocks.core.process import run_checked


def test_a_package_that_apt_cannot_get_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "CHECKOUT", tmp_path)
    with pytest.raises(ToolError, match="no-such-package-of-debian"):
        peers.from_debian("bench-it", "no-such-package-of-debian")
    assert not (tmp_path / ".state" / "bench-it").exists()


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "CHECKOUT", tmp_path)
    program = tmp_path / ".state" / "bench-it" / "bin" / "program"
    program.parent.mkdir(parents=True)
    program.touch()
    assert peers.from_pypi("bench-it", "program", "no-such-package-of-pypi") == program.parent
    assert peers.from_debian("bench-it", "no-such-package-of-debian") == tmp_path / ".state" / "bench-it"


def test_files_of_var_are_where_usr_links_to_them(tmp_path: Path) -> None:
    package, into = tmp_path / "package", tmp_path / "into"
    for folder in ("DEBIAN", "usr/share/misc", "var/lib/usbutils"):
        (package / folder).mkdir(parents=True)
    control = "Package: ids\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: ids\n"
    (package / "DEBIAN" / "control").write_text(control, encoding="ascii")
    (package / "var/lib/usbutils/usb.ids").write_text("ids", encoding="ascii")
    (package / "usr/share/misc/usb.ids").symlink_to("/var/lib/usbutils/usb.ids")
    (package / "usr/share/misc/other").symlink_to("usb.ids")
    archive = tmp_path / "ids.deb"
    run_checked(["dpkg-deb", "--build", str(package), str(archive)], deadline_seconds=60)
    peers.unpack([archive], into)
    assert not (into / "usr/share/misc/usb.ids").is_symlink()
    assert (into / "usr/share/misc/other").read_text(encoding="ascii") == "ids"


def test_each_row_is_the_time_of_ours_by_that_of_the_other_program() -> None:
    rows = [
        *one_start.beside_virt_install(0.5, 1.5, 2, "4.1.0"),
        ansible_starts.row(1, 4, "12.3.0"),
        ganeti.row(ganeti.Pair("a start", 0.4, 1, "s", "medians")),
        *image_copies.rows(Content(2 * 10**9, 420 * 10**6, "digest"), 3, 2, 1.5),
    ]
    assert [(row.number, row.found, row.verdict) for row in rows] == [
        ("R2", "0.25", "-"),
        ("R2", "0.75", "-"),
        ("R9", "0.25", "-"),
        ("R36", "0.40", "met"),
        ("R18", "1.50", "-"),
        ("R18", "2.00", "-"),
    ]
    assert len({row.what for row in rows}) == len(rows)
    assert "3.00 s / 1.50 s, 420 MB of 2.0 GB" in rows[-1].how


def test_ansible_has_each_machine_on_its_own_host(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    site = SimpleNamespace(
        folder=tmp_path,
        public_key=tmp_path / "id.pub",
        known_hosts=tmp_path / "known_hosts",
        host_address=lambda number: f"198.18.1.{number}",
    )
    command = ansible_starts.write_playbook(site, ["guest-1", "guest-2"], tmp_path / "bin")  # type: ignore[arg-type]
    assert command[0] == str(tmp_path / "bin" / "ansible-playbook")
    inventory, playbook = (json.loads(Path(file).read_text("utf-8")) for file in command[2:])
    hosts = inventory["all"]["hosts"]
    assert {name: (host["ansible_host"], host["guest"]) for name, host in hosts.items()} == {
        "far-1": ("198.18.1.1", "guest-1"),
        "far-2": ("198.18.1.2", "guest-2"),
    }
    assert playbook[0]["tasks"] == [{"community.libvirt.virt": {"name": "{{ guest }}", "state": "running"}}]
