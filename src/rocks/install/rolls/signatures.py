"""Checksums and signatures of rolls, and signatures of repositories."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rocks.core.errors import HostError, StateError, UserError
from rocks.core.files import PUBLIC, draft, remove_drafts, write_file
from rocks.core.names import printable
from rocks.core.process import run
from rocks.core.reproducible import PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rocks.core.process import Finished


# The manifest of a roll: SHA256SUMS, the checksum of every other file of its folder, as `sha256sum -c` reads it.


MANIFEST = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.asc"
"""The signature of the manifest, beside it; `rocks.install.rolls.signatures` makes and verifies it."""

_UNLISTED = frozenset((MANIFEST, SIGNATURE))
_LONGEST_NAME = 200
_LARGEST_FILE_BYTES = 64 * 1024 * 1024
_PART = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+~^@-]*")
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_FOLDER = 0o755


def is_safe_path(path: str) -> bool:
    """Whether the path of a file in a roll is relative, stays below its folder, and needs no quoting."""
    return all(_PART.fullmatch(part) and len(part) <= _LONGEST_NAME for part in path.split("/"))


def manifest_text(folder: Path) -> str:
    """The manifest of a folder as it is. UserError for a link or a file name that a roll cannot have."""
    return "".join(
        f"{file_sha256(folder / path)}  {path}\n" for path in _files(folder) if path not in _UNLISTED
    )


def check_manifest(folder: Path, place: str) -> None:
    """UserError, with the file, unless exactly the files of the manifest exist, and are those it was made of."""
    expected = _read(folder, place)
    present = set(_files(folder)) - _UNLISTED
    for path in sorted(expected.keys() | present):
        if path not in present:
            raise UserError(f"{place} is damaged: {path} of its manifest {MANIFEST} is missing; get it again")
        if path not in expected:
            raise UserError(f"{place} is altered: its manifest {MANIFEST} does not name {path}; get it again")
        if file_sha256(folder / path) != expected[path]:
            raise UserError(
                f"{place} is damaged: {path} has another checksum than in {MANIFEST}; get it again"
            )


def same_content(one: Path, other: Path) -> bool:
    """Whether two folders, each checked against its manifest, have the same files."""
    try:
        return (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()
    except OSError:
        return False


def _read(folder: Path, place: str) -> dict[str, str]:
    path = folder / MANIFEST
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE_BYTES:
            raise UserError(f"{place}: {MANIFEST} is not the manifest of a roll")
        text = path.read_text("ascii")
    except FileNotFoundError:
        raise UserError(f"{place} has no manifest {MANIFEST}; rocks create roll makes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}: {MANIFEST} cannot be read: {error}; get it again") from None
    expected: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None or not is_safe_path(match[2]) or match[2] in (*_UNLISTED, *expected):
            raise UserError(f"{place}: line {number} of {MANIFEST} is not valid: {printable(line)}")
        expected[match[2]] = match[1]
    return expected


def _files(folder: Path) -> Iterator[str]:
    """The paths of all files below a folder, sorted. UserError for anything that is neither file nor folder."""
    for path, names, files in os.walk(folder, onerror=_raise):
        names.sort()
        for name in sorted([*names, *files]):
            whole = folder.__class__(path, name)
            relative = str(whole.relative_to(folder))
            if not is_safe_path(relative):
                raise UserError(
                    f"{printable(relative)} cannot be in a roll: give it a name of letters, digits and . _ + ~ ^ @ -"
                )
            if whole.is_symlink() or not (whole.is_dir() or whole.is_file()):
                raise UserError(
                    f"{printable(relative)} is neither a file nor a folder; a roll has only these"
                )
            if name in files:
                yield relative


def _raise(error: OSError) -> None:
    raise HostError(f"cannot read {error.filename}: {error.strerror}")


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. HostError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HostError(f"cannot read {path}: {error.strerror}") from None


def take_over(folder: Path, place: str) -> None:
    """Check the roll in `folder` against its manifest, and make its folders (0755) and files (0644) this user's.

    A file with another owner or mode is replaced by a copy, since that owner may have it open; the copies are checked
    again. Repeated, it changes nothing. Errors as of `check_manifest`, which names the roll by `place`; HostError when
    a file cannot be replaced.
    """
    try:
        remove_drafts(folder)
        _take_folders(folder)
        check_manifest(folder, place)  # also: no link, nothing that is not the roll's
        foreign = [Path(path, name) for path, _, files in os.walk(folder) for name in files]
        foreign = [path for path in foreign if not _is_ours(path, PUBLIC)]
        for path in foreign:
            _replace_by_copy(path, folder)
    except OSError as error:
        raise HostError(
            f"the files of {place} cannot be made root's: {error.strerror} ({error.filename}); repeat the command"
        ) from None
    if foreign:
        check_manifest(folder, place)


def _take_folders(folder: Path) -> None:
    """From the top, so that nobody else can exchange what is below. OSError."""
    if not folder.is_dir() or folder.is_symlink():
        return  # the check of the manifest reports it
    for path, folders, _ in os.walk(folder):
        for below in (Path(path), *(Path(path, name) for name in folders)):
            take_folder(below)


def take_folder(folder: Path) -> None:
    """Make one folder this user's, with the mode 0755; a link stays as it is. OSError."""
    if not _is_ours(folder, _FOLDER) and not folder.is_symlink():
        os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
        folder.chmod(_FOLDER)


def _is_ours(path: Path, mode: int) -> bool:
    status = path.lstat()
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == mode


def _replace_by_copy(path: Path, folder: Path) -> None:
    """The draft lies beside the roll: one that a killed run leaves in the roll would not be in its manifest."""
    with path.open("rb") as source, draft(path, mode=PUBLIC, beside=folder) as copy:
        while data := source.read(1 << 20):
            copy.write(data)


# Signatures of rolls and of repositories: OpenPGP, made by gpg, verified by gpgv.
#
# A roll is signed by a signature of its manifest, which has the checksums of all other files.


KEYS_FOLDER = Path("/etc/rocks/keys")
"""Public keys whose rolls this site accepts: files NAME.gpg (`gpg --export`) and NAME.asc (`gpg --armor --export`)."""

SIGNING_FOLDER = Path("/etc/rocks/gnupg")
"""A GnuPG folder with the secret key that signs this site's distributions, if it has one."""

_PUBLIC_KEY = "distribution.asc"
"""In that folder, which only root reads: the public key of the last distribution, for the profiles of hosts."""

_SECONDS = 300
_LARGEST_KEY_BYTES = 16 * 1024 * 1024
_ARMOUR = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?:[^\r\n]{1,200}\r?\n){0,20}\r?\n([A-Za-z0-9+/=\r\n]+)"
    rb"-----END PGP PUBLIC KEY BLOCK-----"
)


def sign_manifest(folder: Path, key: str, epoch: int) -> None:
    """Sign the manifest of a roll's folder with a secret key of this user, named as gpg names keys.

    The signature has the time `epoch` (seconds since 1970), or that of the key if it is later: the same bytes each
    time, for kinds of keys whose signatures have no random part (RSA, Ed25519). UserError when gpg cannot sign with the
    key.
    """
    gnupg_folder = os.environ.get("GNUPGHOME") or str(Path(os.environ.get("HOME", "/root"), ".gnupg"))
    moment = max([epoch, *_key_times(key, gnupg_folder)])
    signature = folder / SIGNATURE
    arguments = ["--armor", "--detach-sign", "--output", str(signature), str(folder / MANIFEST)]
    signing = ["--yes", "--local-user", key, "--digest-algo", "SHA512"]
    done = _gpg([*signing, f"--faked-system-time={moment}!", *arguments], gnupg_folder)
    if done.exit_status != 0 or not signature.is_file():
        raise UserError(f"gpg cannot sign with the key {printable(key)}: {_reason(done)}")


def verify_manifest(folder: Path, place: str, keys: Path, is_unsigned_allowed: bool) -> str:
    """What is known of a roll's signer, for the operator, after the check against the site's keys in a folder.

    UserError for a roll that no key of the site signed, also for one without a signature unless that is allowed. A site
    without keys accepts every roll.
    """
    is_signed = (folder / SIGNATURE).is_file()
    ring = _keyring(keys)
    if not is_signed:
        if ring and not is_unsigned_allowed:
            raise UserError(
                f"{place} is not signed, and this site has keys in {keys}: get the signed roll, or repeat the command "
                "with unsigned=yes"
            )
        return "not signed"
    if not ring:
        return f"signed, but not checked: there are no keys in {keys}"
    return f"signed by {_signer(folder, place, keys, ring)}"


def lacks_signature(folder: Path) -> bool:
    """Whether a roll's folder has no signature although the site has keys."""
    return not (folder / SIGNATURE).is_file() and bool(_keyring(KEYS_FOLDER))


def sign_release(release: Path, gnupg_folder: Path) -> None:
    """Sign a repository's Release with the key in a GnuPG folder: InRelease, Release.gpg. HostError when gpg cannot."""
    _sign_file(release, release.with_name("InRelease"), ["--clearsign"], gnupg_folder)
    sign_file(release, "gpg", gnupg_folder)


def sign_file(path: Path, suffix: str, gnupg_folder: Path) -> None:
    """Write the signature of a file, NAME.SUFFIX beside it. HostError when gpg cannot."""
    target = path.with_name(f"{path.name}.{suffix}")
    _sign_file(path, target, ["--armor", "--detach-sign"], gnupg_folder)


def export_key(target: Path, gnupg_folder: Path) -> None:
    """Write the public key of a GnuPG folder to a file, as apt's `signed-by` takes it. HostError when gpg cannot."""
    done = _gpg(["--yes", "--output", str(target), "--export"], str(gnupg_folder))
    if done.exit_status != 0 or not target.is_file():
        raise HostError(f"gpg cannot export the key of {gnupg_folder}: {_reason(done)}")


def record_public_key(gnupg_folder: Path) -> None:
    """Keep the public key of a GnuPG folder there for `public_key`. HostError when gpg cannot, or on a full disk."""
    done = _gpg(["--armor", "--export"], str(gnupg_folder))
    if done.exit_status != 0 or not done.output.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        raise HostError(f"gpg cannot export the key of {gnupg_folder}: {_reason(done)}")
    write_file(gnupg_folder / _PUBLIC_KEY, done.output, mode=PUBLIC)


def public_key(gnupg_folder: Path) -> str | None:
    """The public key, in ASCII, that signed the distributions of this site; '' before the first was signed, None where
    there is no such folder. HostError when it cannot be read.
    """
    try:
        if not gnupg_folder.is_dir():
            return None
        return (gnupg_folder / _PUBLIC_KEY).read_text("ascii")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a key in ASCII"
        raise HostError(f"cannot read {gnupg_folder / _PUBLIC_KEY}: {reason}") from None


def _sign_file(path: Path, target: Path, arguments: Sequence[str], gnupg_folder: Path) -> None:
    without_passphrase = [
        "--yes",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        "--digest-algo",
        "SHA512",
    ]
    try:
        done = _gpg([*without_passphrase, *arguments, "--output", str(target), str(path)], str(gnupg_folder))
    finally:
        _stop_agent(gnupg_folder)
    if done.exit_status != 0 or not target.is_file():
        raise HostError(
            f"gpg cannot sign {path.name} with the key in {gnupg_folder}: {_reason(done)}; the key must have no "
            "passphrase. To build without signatures, rename the folder"
        )


def _key_times(key: str, gnupg_folder: str) -> list[int]:
    """When the secret key and its subkeys were made, in seconds since 1970. UserError for an unknown key."""
    done = _gpg(["--with-colons", "--list-secret-keys", "--", key], gnupg_folder)
    fields = [line.split(":") for line in done.text.splitlines()]
    times = [int(field[5]) for field in fields if field[0] in ("sec", "ssb") and field[5].isdecimal()]
    if done.exit_status != 0 or not times:
        raise UserError(
            f"there is no secret key {printable(key)} for gpg: gpg --list-secret-keys lists them, and "
            "gpg --quick-gen-key makes one"
        )
    return times


def _keyring(keys: Path) -> bytes:
    """All keys in the folder, one after the other, as gpgv reads them. UserError for a file that is no key."""
    try:
        files = (
            sorted(path for path in keys.iterdir() if path.suffix in (".gpg", ".asc"))
            if keys.is_dir()
            else []
        )
        return b"".join(_key_of(path) for path in files)
    except OSError as error:
        raise HostError(f"cannot read the keys of the site: {error.filename}: {error.strerror}") from None


def _key_of(path: Path) -> bytes:
    data = path.read_bytes() if path.stat().st_size <= _LARGEST_KEY_BYTES else b""
    if path.suffix == ".asc":
        try:
            data = b"".join(
                base64.b64decode(_without_checksum(block), validate=True) for block in _ARMOUR.findall(data)
            )
        except binascii.Error:
            data = b""
    # every packet of OpenPGP begins with this bit, and a public key with this kind (RFC 4880, 4.2)
    if not data or not data[0] & 0x80 or (data[0] & 0x3F if data[0] & 0x40 else data[0] >> 2 & 0xF) != 6:
        raise UserError(
            f"{path} is not a public key: write it with gpg --export (.gpg) or gpg --armor --export (.asc), or "
            "remove it"
        )
    return data


def _without_checksum(block: bytes) -> bytes:
    """The lines of base64, without the last one, `=` and a checksum of 24 bits."""
    return b"".join(line for line in block.split() if not (len(line) == 5 and line.startswith(b"=")))


def _signer(folder: Path, place: str, keys: Path, ring: bytes) -> str:
    """The user of the key that signed the manifest. UserError for a signature of another key, or a wrong one."""
    with tempfile.TemporaryDirectory(prefix="rocks-keys.") as work:
        keyring = Path(work, "keys.gpg")
        keyring.write_bytes(ring)
        arguments = [
            "--homedir",
            work,
            "--keyring",
            str(keyring),
            "--weak-digest",
            "SHA1",
            "--status-fd",
            "1",
        ]
        done = _run(
            "gpgv", [*arguments, str(folder / SIGNATURE), str(folder / MANIFEST)], {"HOME": "/nonexistent"}
        )
    status = {
        fields[1]: fields[2:] for line in done.text.splitlines() if len(fields := line.split(" ", 3)) > 2
    }
    if done.exit_status == 0 and "VALIDSIG" in status and "GOODSIG" in status:
        return printable(status["GOODSIG"][-1])
    if "BADSIG" in status:
        raise UserError(f"{place} is altered: its signature is not that of its manifest; get it again")
    if "NO_PUBKEY" in status:
        raise UserError(
            f"{place} is signed by the key {printable(status['NO_PUBKEY'][0])}, which is not in {keys}: get the roll "
            "from where the site gets its rolls; or, when you trust that key, put it there"
        )
    for word, what in (("EXPKEYSIG", "has expired"), ("REVKEYSIG", "was revoked")):
        if word in status:
            raise UserError(f"{place}: the key that signed it {what}: {printable(' '.join(status[word]))}")
    raise UserError(f"{place}: its signature cannot be verified: {_reason(done)}; get the roll again")


def _stop_agent(gnupg_folder: Path) -> None:
    """End the agent that gpg started for this folder."""
    if shutil.which("gpgconf", path=PATH):
        run(
            ["gpgconf", "--homedir", str(gnupg_folder), "--kill", "gpg-agent"],
            deadline_seconds=_SECONDS,
            environment={"PATH": PATH, "HOME": "/nonexistent"},
        )


def _gpg(arguments: Sequence[str], gnupg_folder: str) -> Finished:
    passed = {name: os.environ[name] for name in ("GPG_TTY", "TERM") if name in os.environ}
    return _run("gpg", ["--batch", "--no-tty", "--homedir", gnupg_folder, *arguments], passed)


def _run(name: str, arguments: Sequence[str], environment: dict[str, str]) -> Finished:
    if shutil.which(name, path=PATH) is None:
        packages = "gpg gpg-agent" if name == "gpg" else name
        raise StateError(f"{name} is not installed: apt-get install {packages}, then repeat the command")
    return run(
        [name, *arguments],
        deadline_seconds=_SECONDS,
        environment={"PATH": PATH, "LC_ALL": "C.UTF-8", "TZ": "UTC", **environment},
    )


def _reason(done: Finished) -> str:
    """The last line of gpg's messages that is no remark."""
    lines = [line for line in done.error_text.splitlines() if line.strip() and "WARNING" not in line]
    return printable(lines[-1]) if lines else f"exit status {done.exit_status}"
