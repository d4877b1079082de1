"""The file of hosts' keys, in OpenSSH's format."""

from pathlib import Path

import pytest

from rocks.core.errors import UserError
from rocks.fleet.connection import FleetSettings, HostAddress
from rocks.fleet.known_hosts import parse_host_key, read_known_hosts, record_host_keys, rename_hosts
from rocks.fleet.openssh import arguments_on, ssh_arguments, ssh_arguments_of_operator

LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFcFkTgNrFbZsKNbVL8QJTKR2qnl3tTcyrOa4YDCYnlz"
KEY = parse_host_key(LINE)
OTHER_LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBcFkTgNrFbZsKNbVL8QJTKR2qnl3tTcyrOa4YDCYnlz"
OTHER = parse_host_key(OTHER_LINE)
HOST = HostAddress("compute-0-0", "10.1.255.254", 22)


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    """Recording the first key makes the file."""
    assert read_known_hosts(str(tmp_path / "absent")) == {}


def test_a_key_is_recorded_under_name_and_address(tmp_path: Path) -> None:
    """Recording it again changes nothing."""
    path = tmp_path / "ssh" / "known_hosts"
    assert record_host_keys(str(path), HOST, (KEY,))
    assert not record_host_keys(str(path), HOST, (KEY,))
    assert path.read_text() == f"compute-0-0,10.1.255.254 {LINE}\n"
    assert read_known_hosts(str(path))["compute-0-0"] == (KEY,)
    away = HostAddress("compute-0-1", "10.1.255.253", 2222)
    assert record_host_keys(str(path), away, (OTHER,))
    assert read_known_hosts(str(path))["[10.1.255.253]:2222"] == (OTHER,)
    assert read_known_hosts(str(path))["compute-0-0"] == (KEY,)
    assert [entry.name for entry in path.parent.iterdir()] == ["known_hosts"]


def test_a_new_key_replaces_the_old(tmp_path: Path) -> None:
    """The former owner of the address loses it; other lines stay."""
    path = tmp_path / "known_hosts"
    path.write_text(
        f"# ours\ncompute-0-0,10.1.255.254 {OTHER_LINE} comment\n"
        f"old-name,10.1.255.254 ssh-rsa AAAA\nnas-0-0 {LINE}"
    )
    assert record_host_keys(str(path), HOST, (KEY,))
    assert path.read_text().splitlines() == [
        "# ours",
        "old-name ssh-rsa AAAA",
        f"nas-0-0 {LINE}",
        f"compute-0-0,10.1.255.254 {LINE}",
    ]


def test_keys_follow_the_names_of_hosts(tmp_path: Path) -> None:
    """A removed host's key has no name any more, also where another host gets it. Nothing is looked up by address."""
    path = tmp_path / "known_hosts"
    path.write_text(
        f"# a comment\n\n@revoked a {LINE}\na,10.1.0.2 {LINE} x\nb,[10.1.0.3]:2222 {OTHER_LINE}\nnode {LINE}\n"
    )
    rename_hosts(str(path), {"b": "", "a": "b"})
    left = ["# a comment", "", f"@revoked a {LINE}", f"b,10.1.0.2 {LINE} x"]
    left += [f"[10.1.0.3]:2222 {OTHER_LINE}", f"node {LINE}"]
    assert path.read_text().splitlines() == left
    rename_hosts(str(path), {"B": "", "b": "B"})
    assert read_known_hosts(str(path))["B"] == (KEY,)
    rename_hosts(str(path), {"B": "", "node": "", "gone": "", "": ""})
    assert path.read_text().splitlines() == [*left[:3], f"10.1.0.2 {LINE} x", left[4]]
    rename_hosts(str(tmp_path / "absent"), {"b": ""})
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "#",
        "x",
        "x ssh-ed25519",
        "x ssh-ed25519 !!!",
        "x ssh-ed25519 AAAA",
        "x ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIFcFkTgNrFbZsKNbVL8QJTKR2qnl3tTcyrOa4YDCYnlz",
        "x ssh-ed25519 \u20ac",
        "@revoked x ssh-ed25519 AAAA",
        "|1|a|b ssh-ed25519 AAAA",
    ],
)
def test_ignored_lines(tmp_path: Path, line: str) -> None:
    """Comments, marked, hashed and invalid lines."""
    path = tmp_path / "known_hosts"
    path.write_text(line + "\n")
    assert read_known_hosts(str(path)).get("x", ()) == ()


def test_two_keys_of_a_type(tmp_path: Path) -> None:
    """Both are known, as for OpenSSH: an operator announces a new key of a host by a line of its own."""
    path = tmp_path / "known_hosts"
    path.write_text(f"x {LINE}\nx {OTHER_LINE}\n")
    assert read_known_hosts(str(path)) == {"x": (KEY, OTHER)}


def test_fingerprints_have_the_form_of_openssh() -> None:
    """As `ssh-keygen -l` prints it, without padding."""
    assert KEY.fingerprint.startswith("SHA256:") and len(KEY.fingerprint) == 50 and "=" not in KEY.fingerprint
    assert parse_host_key(f"{LINE} root@host\n") == KEY
    with pytest.raises(UserError, match="not a public key"):
        parse_host_key("hello")


def test_command_lines_of_openssh() -> None:
    """The host's key is checked strictly, by the host's name; our command line never prompts."""
    settings = FleetSettings(key_file="/k", known_hosts_file="/kh")
    ours = ssh_arguments(HOST, settings, ("-L", "1:127.0.0.1:2"))
    assert ours[-4:] == ["-L", "1:127.0.0.1:2", "--", "root@10.1.255.254"]
    for option in (
        "HostKeyAlias=compute-0-0",
        "UserKnownHostsFile=/kh",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
    ):
        assert option in ours
    assert "BatchMode=yes" not in ssh_arguments_of_operator(HOST, settings)


def test_a_program_on_a_host_has_a_connection_of_its_own() -> None:
    """Also where `ControlMaster` is in the operator's ~/.ssh/config: new firewall rules are confirmed by a new one."""
    arguments = arguments_on(HOST, FleetSettings(), ["sh", "-c", "a b"])
    at = arguments.index("-S")
    assert arguments[at : at + 2] == ["-S", "none"] and at < arguments.index("--")
    assert arguments[-1] == "exec sh -c 'a b'"
    assert arguments_on(HOST._replace(is_local=True), FleetSettings(), ["true"]) == ["true"]
