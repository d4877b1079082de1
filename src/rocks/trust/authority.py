"""The authority of this cluster's certificates, on the frontend; its key never leaves this folder.

In the folder (0700), each file complete at every moment:
ca.key, ca.crt       the authority itself; the key 0600
revoked.pem          its revocation list
nodes/NAME.pem       the newest certificate of each node with its key, 0600
old/NAME.pem         those before it, the newest first, which stay valid until the newest of all is deployed to the node
carried/NAME         serial number of the certificate that is deployed to the node
carried.list         SHA-256 of the revocation list that a command last deployed to all nodes
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rocks.core import dry_run
from rocks.core.clock import utc_now
from rocks.core.errors import BusyError, HostError, StateError, UserError
from rocks.core.files import ensure_folders, remove_file, text_if_readable, write_file
from rocks.trust import x509
from rocks.trust.x509 import CertificateInfo, CertificateSpec, Pair

AUTHORITY_FOLDER = "/etc/rocks/pki/authority"
_DEPLOYED = "carried"
"""The folder has had this name since the first release."""

_FOLDERS = ("nodes", "old", _DEPLOYED)
_DEPLOYED_LIST = f"{_DEPLOYED}.list"
_AUTHORITY_DAYS = 30 * 365
LONGEST_NAME = 64
"""X.520's limit for a common name."""


class CertificateBundle(NamedTuple):
    """The files for a node: its certificate with its key, the authority's certificate, the revocation list; PEM."""

    pair: bytes
    authority: bytes
    revoked: bytes


class Authority:
    """The authority in a folder. Several processes may use it at once: each change holds a lock on the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ensure(self, name: str) -> bool:
        """Make the authority unless it exists; `name` names its owner. Returns whether it was made."""
        with self._locked():
            if (self._folder / "ca.crt").exists():
                return False
            pair = x509.create_authority(name[:LONGEST_NAME], utc_now(), _AUTHORITY_DAYS)
            write_file(self._folder / "ca.key", pair.key)
            write_file(self._folder / "revoked.pem", x509.create_revoked_list(pair, [], utc_now()))
            self.list_deployed(self.list_digest())  # nothing is in it
            write_file(self._folder / "ca.crt", pair.certificate)
            return True

    def certificate(self) -> str:
        """The authority's own certificate, as PEM; '' when there is none. HostError when it cannot be read."""
        try:
            return (self._folder / "ca.crt").read_text("ascii")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise HostError(f"{error.filename} cannot be read: {error.strerror}") from None

    def issue(self, spec: CertificateSpec) -> CertificateInfo:
        """A new certificate with a new key for a node. Those before stay valid until `settle` or `revoke`.

        UserError for a name that a certificate cannot contain.
        """
        if len(spec.node) > LONGEST_NAME or not spec.node.isascii():
            raise UserError(
                f'a certificate cannot contain the name "{spec.node}": at most {LONGEST_NAME} ASCII characters'
            )
        with self._locked():
            pair = x509.sign(self._pair(), spec, utc_now())
            newest = self._newest(spec.node)
            if newest.exists():
                self._preserve_old(spec.node, newest.read_bytes())
            write_file(newest, pair.certificate + pair.key)
            return x509.read_certificates(pair.certificate)[0]

    def settle(self, node: str, serial: int) -> list[CertificateInfo]:
        """The certificate with this number is deployed: revoke those before it. Returns the revoked certificates.

        BusyError when it is not the newest one any more; then nothing is revoked, since the node may use the other.
        """
        with self._locked():
            newest, old = (_read_each(file) if file.exists() else [] for file in self._files(node))
            if serial in [one.serial for one in (*newest, *old)]:
                write_file(self._deployed(node), f"{serial:x}")
            if [one.serial for one in newest] != [serial]:
                raise BusyError(
                    f"the certificate of {node} was replaced or revoked while it was deployed; repeat the command"
                )
            # a killed `issue` leaves the same one twice
            return self._revoke([one for one in old if one.serial != serial], [self._old(node)])

    def revoke(self, node: str) -> list[CertificateInfo]:
        """Revoke all certificates of the node and remove its keys. Returns the revoked certificates."""
        if not self.has(node):
            return []
        with self._locked():
            files = [file for file in self._files(node) if file.exists()]
            revoked = self._revoke([one for file in files for one in _read_each(file)], files)
            remove_file(self._deployed(node))
            return revoked

    def certificates(self) -> dict[str, CertificateInfo]:
        """Node → its newest certificate, by name."""
        found: dict[str, CertificateInfo] = {}
        for file in sorted((self._folder / "nodes").glob("*.pem")):
            with contextlib.suppress(FileNotFoundError):  # revoked since
                found[file.stem] = _read(file)
        return found

    def is_deployed(self, node: str) -> bool:
        """Whether the node's newest certificate is deployed."""
        try:
            return self._deployed(node).read_text("ascii") == _read(self._newest(node)).serial_text
        except FileNotFoundError:
            return False

    def has_any_deployed(self, node: str) -> bool:
        """Whether a certificate is deployed to the node, its newest or one before."""
        return self._deployed(node).exists() and self._newest(node).exists()

    def has(self, node: str) -> bool:
        """Whether the node has a certificate."""
        return self._newest(node).exists() or self._old(node).exists()

    def bundle(self, node: str) -> CertificateBundle:
        """The files for the node. StateError when it has no certificate, or a revoked one, which `revoke` has left."""
        newest = self._newest(node)
        missing = StateError(f"{node} has no certificate: run `rocks add host certificate {node}` first")
        if not newest.exists():
            raise missing
        with self._locked():
            if not newest.exists():  # it was revoked meanwhile
                raise missing
            found = CertificateBundle(
                newest.read_bytes(),
                (self._folder / "ca.crt").read_bytes(),
                (self._folder / "revoked.pem").read_bytes(),
            )
            serial = _read(newest).serial
        if serial in dict(x509.read_revoked_list(found.revoked)):
            raise StateError(
                f"the certificate of {node} is revoked, by a command that was killed: rocks remove host certificate "
                f"{node} removes it, rocks add host certificate {node} replace=yes issues another one"
            )
        return found

    def list_digest(self) -> str:
        """SHA-256 of the revocation list; empty where there is no authority."""
        file = self._folder / "revoked.pem"
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""

    def is_list_deployed(self) -> bool:
        """Whether a command has deployed the list to all nodes; one that was killed leaves that to the next."""
        return text_if_readable(self._folder / _DEPLOYED_LIST) == self.list_digest()

    def list_deployed(self, digest: str) -> None:
        """The list was sent to all nodes; those that did not take it are reported."""
        write_file(self._folder / _DEPLOYED_LIST, digest)

    def list_file_name(self) -> str:
        """Name of the file in which TLS libraries look for the revocation list."""
        return x509.list_file_name((self._folder / "ca.crt").read_bytes())

    def _newest(self, node: str) -> Path:
        return self._folder / "nodes" / f"{node}.pem"

    def _old(self, node: str) -> Path:
        return self._folder / "old" / f"{node}.pem"

    def _files(self, node: str) -> tuple[Path, Path]:
        return self._newest(node), self._old(node)

    def _deployed(self, node: str) -> Path:
        return self._folder / _DEPLOYED / node

    def _pair(self) -> Pair:
        try:
            return Pair((self._folder / "ca.crt").read_bytes(), (self._folder / "ca.key").read_bytes())
        except FileNotFoundError as error:
            raise StateError(
                f"the authority of certificates is incomplete: {error.filename} is missing"
            ) from None

    def _preserve_old(self, node: str, newest: bytes) -> None:
        """Killed at any moment, this leaves the newest certificate where it is: it is that of the node.

        All before it stay as well: a deployment that failed after its file was there is recorded nowhere.
        """
        old = self._old(node)
        before = old.read_bytes() if old.exists() else b""
        if not before.startswith(newest):  # a killed `issue` has stored it
            write_file(old, newest + before)

    def _revoke(
        self, certificates: Iterable[CertificateInfo], files: Iterable[Path]
    ) -> list[CertificateInfo]:
        """Add the certificates to the list, then remove the files: killed in between, a retry completes it."""
        revoked = list(dict.fromkeys(certificates))
        if revoked:
            listed = x509.read_revoked_list((self._folder / "revoked.pem").read_bytes())
            known = {serial for serial, _ in listed}
            listed += [(one.serial, utc_now()) for one in revoked if one.serial not in known]
            write_file(
                self._folder / "revoked.pem", x509.create_revoked_list(self._pair(), listed, utc_now())
            )
        for file in files:
            remove_file(file)
        return revoked

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._folder.is_dir():
            dry_run.stop(dry_run.HERE, f"make the folder {self._folder}")
        try:
            for folder in (self._folder, *(self._folder / name for name in _FOLDERS)):
                ensure_folders(folder, 0o700)
            handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise HostError(
                f"cannot use the folder of certificates {self._folder}: {error.strerror}"
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def still_revoked(saved: Mapping[str, bytes], folder: Path) -> tuple[dict[str, bytes], set[str]] | None:
    """The files of a saved authority (path → content) for a folder of the same one, and nodes that have none any more.

    The list has what either list has, and the certificates issued since, of which no file would be left to revoke them
    by. Without files of revoked certificates and the record that the nodes have the list. None for another authority.
    """
    if any(name not in saved or not (folder / name).exists() for name in ("ca.crt", "ca.key", "revoked.pem")):
        return None
    if (folder / "ca.crt").read_bytes() != saved["ca.crt"]:
        return None
    # a file that cannot be read says nothing, and comes back as it was: the rows are replaced already
    found = {}
    for path in saved:
        if path.startswith(("nodes/", "old/")) and path.endswith(".pem"):
            with contextlib.suppress(ValueError):
                found[path] = x509.read_certificates(saved[path])
    known = {one.serial for each in found.values() for one in each}
    since = []
    for file in (file for part in ("nodes", "old") for file in (folder / part).glob("*.pem")):
        with contextlib.suppress(ValueError):
            since += [one for one in x509.read_certificates(file.read_bytes()) if one.serial not in known]
    listed = {one.serial: utc_now() for one in since}
    for pem in (saved["revoked.pem"], (folder / "revoked.pem").read_bytes()):
        with contextlib.suppress(ValueError):
            listed |= dict(x509.read_revoked_list(pem))
    revoked = {path: one.node for path, (one, *_) in found.items() if one.serial in listed}
    remaining = {path: saved[path] for path in saved if path not in (*revoked, _DEPLOYED_LIST)}
    pair = Pair(saved["ca.crt"], saved["ca.key"])
    remaining["revoked.pem"] = x509.create_revoked_list(pair, listed.items(), utc_now())
    return remaining, {*revoked.values(), *(one.node for one in since)}


def _read(file: Path) -> CertificateInfo:
    return _read_each(file)[0]


def _read_each(file: Path) -> list[CertificateInfo]:
    try:
        return x509.read_certificates(file.read_bytes())
    except ValueError as error:
        raise HostError(f"{file} is no valid certificate: {error}; remove it and issue another one") from None
