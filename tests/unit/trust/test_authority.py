"""The authority of certificates: OpenSSL verifies them, revoked ones are on its list, only root reads its key."""

import contextlib
import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_crl

from rocks.core.clock import utc_now
from rocks.core.errors import BusyError, StateError, UserError
from rocks.core.files import write_file
from rocks.core.process import run_checked
from rocks.trust import x509
from rocks.trust.authority import Authority, still_revoked
from rocks.trust.x509 import CertificateSpec, read_revoked_list


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    assert made.ensure("Image storage of head")
    assert not made.ensure("another")
    return made


def _request(node: str, is_service: bool = False) -> CertificateSpec:
    return CertificateSpec(node, [node], ["10.1.1.2", "fd00::1"], 30, is_service)


def _revoked(authority: Authority, node: str) -> set[int]:
    return {serial for serial, _ in read_revoked_list(authority.bundle(node).revoked)}


def test_openssl_verifies_a_certificate_until_it_is_revoked(authority: Authority, tmp_path: Path) -> None:
    """For a client and for a server; that of a service is not valid for a client."""
    authority.issue(_request("nas-0-0"))
    authority.issue(_request("broker", is_service=True))

    def verify(node: str, purpose: str) -> str:
        bundle = authority.bundle("nas-0-0")
        (tmp_path / "list.pem").write_bytes(bundle.authority + bundle.revoked)
        (tmp_path / "node.pem").write_bytes((tmp_path / "pki" / "nodes" / f"{node}.pem").read_bytes())
        arguments = ["-crl_check", "-purpose", purpose, "-CAfile", str(tmp_path / "list.pem")]
        return run_checked(
            ["sh", "-c", 'openssl verify "$@" 2>&1 || true', "sh", *arguments, str(tmp_path / "node.pem")],
            deadline_seconds=10,
        ).text

    assert ": OK" in verify("nas-0-0", "sslclient") and ": OK" in verify("nas-0-0", "sslserver")
    assert ": OK" in verify("broker", "sslserver") and "purpose" in verify("broker", "sslclient")
    old = tmp_path / "old.pem"
    old.write_bytes(authority.bundle("nas-0-0").pair)
    authority.settle("nas-0-0", authority.issue(_request("nas-0-0")).serial)
    assert ": OK" in verify("nas-0-0", "sslclient")
    (tmp_path / "pki" / "nodes" / "old.pem").write_bytes(old.read_bytes())
    assert "revoked" in verify("old", "sslclient")
    name = run_checked(
        ["openssl", "crl", "-hash", "-noout", "-in", str(tmp_path / "pki" / "revoked.pem")],
        deadline_seconds=10,
    ).text.strip()
    assert authority.list_file_name() == f"{name}.r0"


def test_the_old_certificate_is_valid_until_the_new_one_is_deployed(authority: Authority) -> None:
    first = authority.issue(_request("nas-0-0"))
    assert not authority.is_deployed("nas-0-0")
    assert authority.settle("nas-0-0", first.serial) == [] and authority.is_deployed("nas-0-0")
    second = authority.issue(_request("nas-0-0"))
    assert _revoked(authority, "nas-0-0") == set() and not authority.is_deployed("nas-0-0")
    third = authority.issue(_request("nas-0-0"))
    assert _revoked(authority, "nas-0-0") == set(), "the host may have the first or the second"
    assert authority.settle("nas-0-0", third.serial) == [second, first]
    assert _revoked(authority, "nas-0-0") == {first.serial, second.serial}
    assert authority.certificates() == {"nas-0-0": third}
    assert authority.settle("nas-0-0", third.serial) == []


def test_all_certificates_of_a_node_are_revoked_however_many_were_not_deployed(authority: Authority) -> None:
    issued = [authority.issue(_request("nas-0-0")) for _ in range(3)]
    assert authority.revoke("nas-0-0") == issued[::-1]
    assert not authority.has("nas-0-0")


def test_a_certificate_that_was_replaced_while_it_was_deployed_is_not_revoked(authority: Authority) -> None:
    """Two commands at once: the host has the first certificate, and only the second is the newest."""
    first = authority.issue(_request("nas-0-0"))
    second = authority.issue(_request("nas-0-0"))
    with pytest.raises(BusyError, match="nas-0-0 .* repeat the command"):
        authority.settle("nas-0-0", first.serial)
    assert _revoked(authority, "nas-0-0") == set(), "the host has it"
    assert not authority.is_deployed("nas-0-0") and authority.has_any_deployed("nas-0-0")
    assert authority.settle("nas-0-0", second.serial) == [first]
    authority.revoke("nas-0-0")
    with pytest.raises(BusyError, match="repeat the command"):
        authority.settle("nas-0-0", second.serial)
    assert not authority.has_any_deployed("nas-0-0")


def test_a_killed_replacement_leaves_the_certificate_that_is_deployed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node is never without one: the broker removes the user of such a node."""
    first = authority.issue(_request("nas-0-0"))
    authority.settle("nas-0-0", first.serial)
    newest = tmp_path / "pki" / "nodes" / "nas-0-0.pem"

    def killed(path: Path, content: str | bytes, **options: int) -> None:
        if path == newest:
            raise KeyboardInterrupt
        write_file(path, content, **options)

    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr("rocks.trust.authority.write_file", killed)
            authority.issue(_request("nas-0-0"))
        assert authority.certificates() == {"nas-0-0": first}
        assert _revoked(authority, "nas-0-0") == set()
    assert authority.settle("nas-0-0", first.serial) == []
    second = authority.issue(_request("nas-0-0"))
    assert _revoked(authority, "nas-0-0") == set(), "the host has the first"
    assert authority.settle("nas-0-0", second.serial) == [first]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("rocks.trust.authority.write_file", killed)
        authority.issue(_request("nas-0-0"))
    assert authority.revoke("nas-0-0") == [second]


def test_certificates_are_listed_while_others_are_removed(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large site the list takes seconds."""
    for node in ("nas-0-0", "vmc-0-0", "vmc-0-1"):
        authority.issue(_request(node))
    read = x509.read_certificates

    def remove_next(pem: bytes) -> list[x509.CertificateInfo]:
        monkeypatch.setattr(x509, "read_certificates", read)
        authority.revoke("vmc-0-0")
        return read(pem)

    monkeypatch.setattr(x509, "read_certificates", remove_next)
    assert list(authority.certificates()) == ["nas-0-0", "vmc-0-1"]


def test_a_repeated_revocation_changes_nothing(authority: Authority, tmp_path: Path) -> None:
    """After a kill between writing the list and removing the file, a retry completes it."""
    authority.issue(_request("broker"))
    displayed = authority.issue(_request("nas-0-0"))
    pair = (tmp_path / "pki" / "nodes" / "nas-0-0.pem").read_bytes()
    assert authority.revoke("nas-0-0") == [displayed]
    (tmp_path / "pki" / "nodes" / "nas-0-0.pem").write_bytes(pair)
    assert authority.revoke("nas-0-0") == [displayed]
    assert authority.revoke("nas-0-0") == []
    assert [serial for serial, _ in read_revoked_list(authority.bundle("broker").revoked)] == [
        displayed.serial
    ]
    with pytest.raises(StateError, match="rocks add host certificate nas-0-0"):
        authority.bundle("nas-0-0")


def test_a_certificate_that_a_killed_revocation_has_left_is_not_deployed(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host would have one that nobody accepts, and the command would report success."""
    authority.issue(_request("nas-0-0"))

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rocks.trust.authority.remove_file", killed)
        with contextlib.suppress(KeyboardInterrupt):
            authority.revoke("nas-0-0")
    with pytest.raises(
        StateError, match="is revoked, by a command that was killed: rocks remove host certificate"
    ):
        authority.bundle("nas-0-0")
    new = authority.issue(_request("nas-0-0"))
    authority.settle("nas-0-0", new.serial)
    assert new.serial not in _revoked(authority, "nas-0-0")


def test_a_certificate_that_is_revoked_while_it_is_fetched_is_missing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revocation has the lock first."""
    authority.issue(_request("nas-0-0"))
    locked = authority._locked

    def after_the_revocation() -> contextlib.AbstractContextManager[None]:
        monkeypatch.setattr(authority, "_locked", locked)
        assert authority.revoke("nas-0-0")
        return locked()

    monkeypatch.setattr(authority, "_locked", after_the_revocation)
    with pytest.raises(StateError, match="nas-0-0 has no certificate"):
        authority.bundle("nas-0-0")


def test_a_list_of_a_clock_that_was_ahead_is_valid(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS libraries refuse a list that is not valid yet, and with it each certificate."""
    authority.issue(_request("nas-0-0"))
    gone = authority.issue(_request("nas-0-1"))
    monkeypatch.setattr("rocks.trust.authority.utc_now", lambda: utc_now() + timedelta(days=30))
    authority.revoke("nas-0-1")
    assert _revoked(authority, "nas-0-0") == {gone.serial}
    assert load_pem_x509_crl(authority.bundle("nas-0-0").revoked).last_update_utc < utc_now()


def test_only_root_can_read_the_files(authority: Authority, tmp_path: Path) -> None:
    authority.issue(_request("nas-0-0"))
    for path in (tmp_path / "pki").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_python_loads_the_pair_from_one_file(authority: Authority, tmp_path: Path) -> None:
    authority.issue(_request("nas-0-0"))
    (tmp_path / "node.pem").write_bytes(authority.bundle("nas-0-0").pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(tmp_path / "node.pem")
    (tmp_path / "node.pem").write_bytes(b"no certificate")
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(tmp_path / "node.pem")


def test_names_that_a_certificate_cannot_contain(authority: Authority) -> None:
    for name in ("x" * 65, "n\u00e4s"):
        with pytest.raises(UserError, match="a certificate cannot contain the name"):
            authority.issue(_request(name))
    assert authority.certificates() == {}


def _saved(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_revoked_stays_so_where_a_saved_authority_returns(
    authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "pki"
    issued = {node: authority.issue(_request(node)).serial for node in ("nas-0-0", "nas-0-1", "nas-0-2")}
    for node, serial in issued.items():
        authority.settle(node, serial)
    saved = _saved(folder)
    authority.revoke("nas-0-1")
    newer = authority.issue(_request("nas-0-2")).serial
    authority.settle("nas-0-2", newer)
    added = authority.issue(_request("nas-0-3")).serial

    found = still_revoked(saved, folder)
    assert found is not None
    remaining, nodes = found
    gone = {issued["nas-0-1"], issued["nas-0-2"], newer, added}
    assert {serial for serial, _ in read_revoked_list(remaining["revoked.pem"])} == gone, (
        "none is valid without a file"
    )
    assert saved.keys() - remaining == {"nodes/nas-0-1.pem", "nodes/nas-0-2.pem", "carried.list"}
    assert nodes == {"nas-0-1", "nas-0-2", "nas-0-3"}

    (folder / "revoked.pem").write_bytes(remaining["revoked.pem"])
    again = still_revoked(saved, folder)
    assert again is not None, "after an interruption"
    assert {serial for serial, _ in read_revoked_list(again[0]["revoked.pem"])} == gone


def test_a_newer_list_that_was_saved_counts_as_well(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    serial = authority.issue(_request("nas-0-0")).serial
    older = _saved(folder)
    authority.revoke("nas-0-0")
    newer = _saved(folder)
    for path, content in older.items():
        (folder / path).write_bytes(content)
    found = still_revoked(newer, folder)
    assert found is not None and [one for one, _ in read_revoked_list(found[0]["revoked.pem"])] == [serial]


def test_of_another_authority_nothing_is_known(authority: Authority, tmp_path: Path) -> None:
    """Nor of one that a restore has written in part."""
    saved = _saved(tmp_path / "pki")
    other = Authority(tmp_path / "other")
    other.ensure("other")
    assert still_revoked(saved, tmp_path / "other") is None
    assert still_revoked(saved, tmp_path / "absent") is None and still_revoked({}, tmp_path / "pki") is None
    (tmp_path / "pki" / "revoked.pem").unlink()
    assert still_revoked(saved, tmp_path / "pki") is None
