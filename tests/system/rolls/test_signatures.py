"""Signed rolls and signed distributions, with real gpg, gpgv and apt."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rocks.core.errors import RocksError
from rocks.core.process import run, run_checked
from rocks.install.rolls import signatures
from rocks.install.rolls.iso import create_roll
from rocks.install.rolls.signatures import MANIFEST, manifest_text, sign_manifest, verify_manifest
from tests.debs import make_deb
from tests.gnupg import Keys, gnupg_folder
from tests.rolls import write_roll
from tests.system.commands.conftest import Site

for _program in ("gpg", "gpgv", "xorriso"):
    if shutil.which(_program) is None:
        pytest.skip(f"{_program} is not installed", allow_module_level=True)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """An empty GnuPG folder, which is this user's."""
    with gnupg_folder() as found:
        monkeypatch.setenv("GNUPGHOME", str(found.folder))
        yield found


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the site's keys; empty."""
    folder = tmp_path / "site-keys"
    folder.mkdir()
    monkeypatch.setattr(signatures, "KEYS_FOLDER", folder)
    monkeypatch.setattr(signatures, "SIGNING_FOLDER", tmp_path / "absent")
    return folder


def _iso(tmp_path: Path, key: str = "", name: str = "hello") -> Path:
    return create_roll(write_roll(tmp_path / "source" / name, name), tmp_path, key=key)


@pytest.mark.slow
def test_a_roll_of_a_known_key_is_added_and_another_is_not(
    roll_site: Site, tmp_path: Path, keys: Keys, trusted: Path
) -> None:
    vendor, stranger = keys.make("vendor"), keys.make("stranger")
    (trusted / "vendor.asc").write_bytes(keys.gpg("--armor", "--export", vendor))
    foreign = _iso(tmp_path, stranger)
    message = roll_site.refused("add", "roll", str(foreign))
    assert "is signed by the key " in message and f"which is not in {trusted}" in message
    assert "hello" not in roll_site.done("list", "roll")
    assert "which is not in" in roll_site.refused("add", "roll", str(foreign), "unsigned=yes")
    assert "is not signed, and this site has keys" in roll_site.refused("add", "roll", str(_iso(tmp_path)))

    added = roll_site.rocks("add", "roll", str(_iso(tmp_path, vendor)))
    assert added.status == 0, added.err
    assert "added roll hello 1.0 noarch (signed by vendor <vendor@example.org>)" in added.err
    assert roll_site.rocks("enable", "roll", "hello").status == 0
    other = roll_site.rocks("add", "roll", str(_iso(tmp_path, name="other")), "unsigned=yes")
    assert other.status == 0 and "(not signed)" in other.err


def test_a_roll_is_checked_by_the_keys_that_the_site_has_when_it_is_enabled(
    roll_site: Site, tmp_path: Path, keys: Keys, trusted: Path
) -> None:
    vendor, stranger = keys.make("vendor"), keys.make("stranger")
    isos = [_iso(tmp_path, stranger), _iso(tmp_path, name="plain"), _iso(tmp_path, vendor, "signed")]
    assert roll_site.rocks("add", "roll", *map(str, isos)).status == 0
    (trusted / "vendor.asc").write_bytes(keys.gpg("--armor", "--export", vendor))
    before = roll_site.done("list", "roll")

    message = roll_site.refused("enable", "roll", "signed", "plain")
    assert "the roll plain 1.0 noarch is not signed, and this site has keys in" in message
    assert "repeat the command with unsigned=yes" in message
    for given in ([], ["unsigned=yes"]):
        assert "which is not in" in roll_site.refused("enable", "roll", "hello", *given)
    manifest = tmp_path / "export/install/rolls/signed/1.0/noarch/SHA256SUMS"
    signed = manifest.read_text()
    manifest.write_text("".join(reversed(signed.splitlines(keepends=True))))
    assert "is altered" in roll_site.refused("enable", "roll", "signed")
    manifest.write_text(signed)
    assert roll_site.done("list", "roll") == before and "unsigned=yes" in roll_site.done("dump", "roll")

    roll_site.done("enable", "roll", "signed")
    roll_site.done("enable", "roll", "plain", "unsigned=yes")
    roll_site.done("disable", "roll", "%")
    for line in roll_site.done("dump", "roll").splitlines()[1:]:
        assert roll_site.rocks(*line.split()[1:]).status == 0
    assert (trusted / "vendor.asc").rename(trusted / "vendor.old").is_file()
    assert "unsigned=yes" not in roll_site.done("dump", "roll")


def test_a_site_without_keys_adds_every_roll(
    roll_site: Site, tmp_path: Path, keys: Keys, trusted: Path
) -> None:
    added = roll_site.rocks("add", "roll", str(_iso(tmp_path, keys.make("vendor"))))
    assert added.status == 0 and f"(signed, but not checked: there are no keys in {trusted})" in added.err, (
        added.err
    )


def test_nothing_of_a_roll_is_read_before_its_signature(
    roll_site: Site, tmp_path: Path, keys: Keys, trusted: Path
) -> None:
    (trusted / "vendor.asc").write_bytes(keys.gpg("--armor", "--export", keys.make("vendor")))
    folder = tmp_path / "export/install/rolls/hello/1.0/noarch"
    write_roll(folder)
    (folder / "nodes/hello.xml").write_text("<kickstart")
    (folder / MANIFEST).write_text(manifest_text(folder))
    assert "is not signed" in roll_site.refused("add", "roll", str(folder))
    message = roll_site.refused("add", "roll", str(folder), "unsigned=yes")
    assert "nodes/hello.xml, line 1: invalid XML" in message


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ed25519", "rsa2048"])
def test_a_signed_roll_is_twice_the_same(tmp_path: Path, keys: Keys, kind: str) -> None:
    vendor = keys.make("vendor", kind)
    source = write_roll(tmp_path / "source" / "hello", "hello")
    one, other = (create_roll(source, tmp_path, key=vendor).read_bytes() for _ in range(2))
    differ = [at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
    assert not differ, [(iso[differ[0] - 400 : differ[0] + 400]) for iso in (one, other)]


@pytest.mark.parametrize("suffix", [".gpg", ".asc"])
def test_a_changed_manifest_or_signature_is_refused(
    tmp_path: Path, keys: Keys, trusted: Path, suffix: str
) -> None:
    vendor = keys.make("vendor")
    other = keys.make("other", "rsa2048")
    armour = ["--armor"] if suffix == ".asc" else []
    (trusted / f"vendor{suffix}").write_bytes(keys.gpg(*armour, "--export", vendor))
    (trusted / f"other{suffix}").write_bytes(keys.gpg(*armour, "--export", other))
    folder = tmp_path / "roll"
    folder.mkdir()
    manifest, signature = folder / "SHA256SUMS", folder / "SHA256SUMS.asc"
    manifest.write_text("one\n")
    for key in (other, vendor):
        sign_manifest(folder, key, 1_700_000_000)
        assert verify_manifest(folder, "it", trusted, False).startswith("signed by ")
    good = signature.read_bytes()
    manifest.write_text("two\n")
    for content, message in (
        (good, "it is altered"),
        (b"", "cannot be verified"),
        (b"\x00" * 100, "cannot be verified"),
        (good[: len(good) // 2], "cannot be verified"),
        (b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n", "cannot be verified"),
    ):
        signature.write_bytes(content)
        for is_unsigned_allowed in (False, True):
            with pytest.raises(RocksError, match=message):
                verify_manifest(folder, "it", trusted, is_unsigned_allowed)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.gpg", b"text"),
        ("a.asc", b"text"),
        ("a.gpg", b""),
        ("a.asc", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
    ],
)
def test_a_file_that_is_no_key_is_named(tmp_path: Path, trusted: Path, name: str, content: bytes) -> None:
    (trusted / name).write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text("one\n")
    with pytest.raises(RocksError, match=f"{name} is not a public key: write it with gpg --export"):
        verify_manifest(tmp_path, "it", trusted, False)


def test_an_unknown_secret_key_makes_no_roll(tmp_path: Path, keys: Keys) -> None:
    with pytest.raises(RocksError, match="there is no secret key nobody@example.org for gpg"):
        _iso(tmp_path, "nobody@example.org")
    assert not list(tmp_path.glob("*.iso")) and keys.folder.is_dir()


@pytest.mark.slow
def test_a_distribution_is_signed_by_the_site_s_key(
    roll_site: Site, tmp_path: Path, keys: Keys, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt takes it with the key that the distribution has, without `trusted`; not with another one."""
    keys.make("site")
    monkeypatch.setattr(signatures, "SIGNING_FOLDER", keys.folder)
    make_deb(tmp_path / "source/hello/packages", "tool")
    assert roll_site.rocks("add", "roll", str(_iso(tmp_path))).status == 0
    roll_site.done("enable", "roll", "hello")
    place = tmp_path / "export/install"
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)
    roll_site.done("create", "distro")
    folder = place / "rocks-dist/x86_64"
    assert "tool" in _apt_names(tmp_path / "apt", folder, f"signed-by={folder}/key.gpg")
    # what hosts had before the site signed its distribution works on
    assert "tool" in _apt_names(tmp_path / "apt-trusted", folder, "trusted=yes")

    other = tmp_path / "other.gpg"
    keys.make("other")
    other.write_bytes(keys.gpg("--export", "other@example.org"))
    assert "tool" not in _apt_names(tmp_path / "apt-other", folder, f"signed-by={other}")

    monkeypatch.setattr(signatures, "SIGNING_FOLDER", tmp_path / "absent")
    roll_site.done("create", "distro")
    assert not (folder / "key.gpg").exists()
    assert "tool" in _apt_names(tmp_path / "apt-again", folder, "trusted=yes")


def _apt_names(state: Path, folder: Path, option: str) -> str:
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [{option}] file:{folder}/Debian rocks-dist main\n")
    options = {
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::parts": "-",
        "APT::Sandbox::User": "root",
    }
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    run(["apt-get", "-q", *given, "update"], deadline_seconds=120)
    return run_checked(["apt-cache", *given, "pkgnames"], deadline_seconds=60).text
