"""Certificates that were revoked after a site was saved stay so where that is known; else a line states it."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from rocks.core.process import run
from rocks.trust.authority import Authority
from rocks.trust.x509 import CertificateSpec, read_revoked_list
from tests.system.commands.conftest import Site
from tests.system.commands.site.saved.conftest import Machine, save

SOURCE = Path(__file__).resolve().parents[5] / "src"
_DIES_BETWEEN = """
import os, sys
from rocks.site import restore as site_restore
from rocks.cli.main import main
real = site_restore.write_file
def write_file(path, *given, **named):
    real(path, *given, **named)
    if str(path) == os.environ["ROCKS_SITE_FOLDER"] + "/pki/authority/nodes/broker.pem":
        os._exit(9)
site_restore.write_file = write_file
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def authority(old: Machine) -> Authority:
    """The authority of the old machine: three hosts, whose certificates they have."""
    shutil.rmtree(old.etc / "pki")
    made = Authority(old.etc / "pki/authority")
    made.ensure("Image storage of head")
    for node in ("broker", "compute-0-0", "nas-0-0", "nas-0-1"):
        deploy(made, node)
    made.list_deployed(made.list_digest())
    return made


def deploy(authority: Authority, node: str) -> int:
    """The number of a new certificate that the node has."""
    serial = authority.issue(CertificateSpec(node, [node], [], 30)).serial
    authority.settle(node, serial)
    return serial


def revoked(authority: Authority) -> set[int]:
    return {serial for serial, _ in read_revoked_list(authority.bundle("compute-0-0").revoked)}


@pytest.fixture
def withdrawn(authority: Authority, old: Machine, site: Site, secret: str, tmp_path: Path) -> Path:
    """The saved site; since then one host is without a certificate, one has another, and one is new."""
    saved = save(old, site, secret, tmp_path / "site.saved")
    authority.revoke("nas-0-0")
    deploy(authority, "nas-0-1")
    deploy(authority, "nas-0-2")
    authority.list_deployed(authority.list_digest())
    return saved


def test_certificates_stay_revoked_where_an_older_site_is_restored(
    withdrawn: Path, authority: Authority, site: Site, secret: str
) -> None:
    before = revoked(authority)
    since = {authority.certificates()[name].serial for name in ("nas-0-1", "nas-0-2")}
    ended = site.rocks("restore site", str(withdrawn), secret, "overwrite=yes")
    assert ended.status == 0, ended
    assert "certificates of nas-0-0, nas-0-1, nas-0-2; for a host" in ended.err
    assert (
        "valid again" not in ended.err
        and "owners' keys that were removed after the copy are valid" in ended.out
    )
    assert len(before) == 2 and revoked(authority) == before | since
    assert list(authority.certificates()) == ["broker", "compute-0-0"] and authority.is_deployed(
        "compute-0-0"
    )
    assert not authority.is_list_deployed(), "the nodes have an older one"
    site.done("check audit")


@pytest.mark.slow
def test_an_interrupted_restore_forgets_no_revocation(
    withdrawn: Path, authority: Authority, site: Site, secret: str
) -> None:
    before = revoked(authority)
    arguments = ["restore", "site", str(withdrawn), secret, "overwrite=yes"]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    ended = run(
        [sys.executable, "-c", _DIES_BETWEEN, *arguments], deadline_seconds=300, environment=environment
    )
    assert ended.exit_status == 9
    assert site.rocks("restore site", str(withdrawn), secret).status == 0
    assert revoked(authority) > before


def test_without_the_newer_list_a_line_states_what_is_valid_again(
    withdrawn: Path, authority: Authority, new: Machine, site: Site, secret: str
) -> None:
    """On a new machine; what the saved site has is restored as it was."""
    new.use()
    ended = site.rocks("restore site", str(withdrawn), secret)
    assert ended.status == 0, ended
    assert "certificates revoked after 20" in ended.err and "are valid again; for each" in ended.err
    assert "revoked: the certificates" not in ended.err
    restored = Authority(new.etc / "pki/authority")
    assert list(restored.certificates()) == ["broker", "compute-0-0", "nas-0-0", "nas-0-1"]
    assert revoked(restored) == set() and restored.is_list_deployed()


@pytest.mark.slow
def test_files_that_are_no_certificates_stop_no_restore(
    authority: Authority, old: Machine, site: Site, secret: str, tmp_path: Path
) -> None:
    """They are found when the rows are replaced already: the same restore again would find them again."""
    folder = old.etc / "pki/authority"
    for name in ("nodes/notes.txt", "old/broken.pem"):
        (folder / name).write_text("no certificate")
    saved = save(old, site, secret, tmp_path / "site.saved")
    (folder / "nodes/nas-0-1.pem").write_text("damaged")
    (folder / "revoked.pem").write_text("damaged")
    ended = site.rocks("restore site", str(saved), secret, "overwrite=yes")
    assert ended.status == 0, ended
    assert "nas-0-0" in authority.certificates()
