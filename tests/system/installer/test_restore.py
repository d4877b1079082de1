"""A saved site on the medium with the answers: what is wrong with it is found before any disk is opened."""

import hashlib
from pathlib import Path

import pytest

from rocks.trust import encrypted_file
from rocks.trust.encrypted_file import Encryption
from tests.system.installer.shell import Shell

PASSPHRASE = 'blanks, "quotes", \\ and ü'  # noqa: S105 - of a test
_ANSWERS = """\
Kickstart_PrivateHostname = head
Kickstart_PrivateInterface = eth0
Kickstart_PrivateAddress = 10.1.1.1
Kickstart_PrivateNetmask = 255.255.0.0
install_disk = smallest
install_root_key = ssh-ed25519 AAAA
install_restore = site.saved
"""


@pytest.fixture
def medium(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a medium with a saved site; its passphrase is tried at the real price."""
    place = shell.folder / "sys/class/net/eth0"
    (place / "device").mkdir(parents=True)
    (place / "address").write_text("52:54:00:00:01:00\n")
    (place / "ifindex").write_text("2\n")
    for path, text in {
        "system/root.sha256": f"{'a' * 64}  root.tar.zst\n",
        "system/timezones": "UTC\n",
        "system/keymaps/us": "",
        "frontend/version": "0.1.10-1\n",
    }.items():
        (shell.folder / "medium" / path).parent.mkdir(parents=True, exist_ok=True)
        (shell.folder / "medium" / path).write_text(text)
    site = shell.folder / "medium/site"
    site.mkdir()
    with (site / "site.saved").open("wb") as file:
        encryption = Encryption(file.write, PASSPHRASE.encode())
        encryption.write(bytes(3 * encrypted_file.CHUNK_BYTES))
        encryption.finish()
    (site / "answers").write_text(_ANSWERS)
    (site / "passphrase").write_text(f"{PASSPHRASE}\r\nanother line\n")
    _describe(site)
    (shell.folder / "console").touch()
    return site


def _describe(site: Path, frontend: str = "head", version: str = "0.1.9") -> None:
    digest = hashlib.sha256((site / "site.saved").read_bytes()).hexdigest()
    (site / "site.saved.about").write_text(f"frontend = {frontend}\nversion = {version}\nsha256 = {digest}\n")


def _script(shell: Shell) -> str:
    begin = f"rm -rf $GIVEN; MEDIUM={shell.folder}/medium; CMDLINE=/dev/null; sleep() {{ :; }}; "
    begin += "find_site >/dev/null; list_rolls; "
    return f'{begin}read_answers "$GIVEN/answers"; check_answers; get_passphrase; write_plan; '


@pytest.mark.slow
def test_a_good_one_goes_to_the_new_disk(shell: Shell, medium: Path) -> None:
    """With its passphrase and the answers; no password is among them."""
    (medium / "answers").write_text(f"{_ANSWERS}install_root_password = of some length\n")
    shell.add_disk("vda", 40000)
    script = _script(shell) + 'choose_disks "$(needed_mib)"; check_room; inside() { cat; }; '
    for place in ("etc/systemd/system", "etc/default", "usr/lib", "dev"):
        (shell.folder / "target" / place).mkdir(parents=True)
    (shell.folder / "target/etc/default/keyboard").write_text('XKBLAYOUT="us"\n')
    (shell.folder / "medium/system/time").write_text("1\n")
    for name in ("frontend-first-boot", "rocks-frontend-install.service"):
        (shell.folder / name).touch()
    shell.text(f"{script}FILES={shell.folder}; write_frontend")
    written = shell.folder / "target/etc/rocks/installation/site"
    assert (written / "site.saved").read_bytes() == (medium / "site.saved").read_bytes()
    assert (written / "passphrase").read_text().startswith(PASSPHRASE)
    answers = (written / "answers").read_text()
    assert "install_restore = site.saved\n" in answers and "password" not in answers
    assert not any(b"of some length" in path.read_bytes() for path in written.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "version", "problem"),
    [
        ("front", "0.1.9", "is the site of front, and Kickstart_PrivateHostname is head"),
        ("head", "0.1.11", "was saved by version 0.1.11, and this medium has 0.1.10: use a newer medium"),
    ],
)
def test_another_site_and_a_newer_release(
    shell: Shell, medium: Path, name: str, version: str, problem: str
) -> None:
    _describe(medium, name, version)
    listed = shell.error(_script(shell))
    assert "nothing was changed" in listed and f"install_restore: site.saved {problem}" in listed


@pytest.mark.slow
def test_damaged_files(shell: Shell, medium: Path) -> None:
    saved = medium / "site.saved"
    whole = saved.read_bytes()
    for content, problem in (
        (whole[:-1], "is damaged or cut off"),
        (whole[:-9] + bytes(9), "is damaged or cut off"),
        (b"rocks-site 3\n" + whole[13:], "is no file of rocks save site, or newer programs saved it"),
        (b"\0" * 100, "is no file of rocks save site"),
        (b"", "is not on the medium with the answers, or it is empty"),
    ):
        saved.write_bytes(content)
        assert f"install_restore: site.saved {problem}" in shell.error(_script(shell)), problem
    saved.unlink()
    assert "is not on the medium" in shell.error(_script(shell))


@pytest.mark.slow
def test_a_wrong_passphrase(shell: Shell, medium: Path) -> None:
    """From the medium it ends the installation; a person is asked again."""
    for wrong in (PASSPHRASE[:-1], "x", "a" * 200):
        (medium / "passphrase").write_text(f"{wrong}\n")
        assert "the passphrase on the medium is not that of site.saved" in shell.error(_script(shell))
    (medium / "passphrase").unlink()
    (medium / "site.saved.about").unlink()
    (shell.folder / "typed").write_text(f"wrong\n{PASSPHRASE}\n")
    typed = f"exec 5<{shell.folder}/typed; ask_hidden() {{ IFS= read -r reply <&5; }}; "
    assert shell.text(f'{typed}{_script(shell)}cat "$GIVEN/passphrase"') == f"{PASSPHRASE}\n"
    assert "this is not the passphrase of site.saved" in (shell.folder / "console").read_text()


@pytest.mark.slow
def test_no_room(shell: Shell, medium: Path) -> None:
    """Of 3 MiB, the restore takes 2,060 MiB at most."""
    (medium / "answers").write_text(f"{_ANSWERS}install_partitions = root:2:ext4:/\n")
    shell.add_disk("vda", 40000)
    refused = shell.error(_script(shell) + 'choose_disks "$(needed_mib)"; check_room')
    assert "the partition for / has 1907 MiB, and the restore of site.saved needs 2060" in refused
