"""Deployment of certificates to hosts: by SSH, through standard input, so that no argument shows them."""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Mapping

from rocks.core import dry_run
from rocks.core.errors import HostError
from rocks.core.process import run
from rocks.fleet.openssh import ssh_arguments
from rocks.fleet.settings import FleetSettings, HostAddress

NODE_FOLDER = "/etc/rocks/pki"
"""Folder of a node's own certificate: node.pem (0600, with its key), ca.crt, revoked.pem."""

DEADLINE_SECONDS = 30.0

# For the host's sh: the folder, then the files in order. All are on the host before the first gets its name.
_SCRIPT = """\
umask 077 && folder=$1 && shift && mkdir -p -m 755 "$folder" && new=$(mktemp -d "$folder/.new.XXXXXX") &&
trap 'rm -rf "$new"' EXIT && tar -x -p -f - -C "$new" && sync &&
for file; do mv -f "$new/$file" "$folder/" || exit; done
"""


def deploy(host: HostAddress, settings: FleetSettings, files: Mapping[str, bytes], folder: str) -> None:
    """Write the files (of node.pem, ca.crt and revoked.pem) into the folder on the host, in that order.

    HostError when that fails.
    """
    if dry_run.would(host.name, f"write {', '.join(files)} in {folder}"):
        return
    arguments = ["sh", "-c", _SCRIPT, "sh", folder, *files]
    if not host.is_local:
        arguments = [*ssh_arguments(host, settings), f"exec {shlex.join(arguments)}"]
    finished = run(arguments, deadline_seconds=DEADLINE_SECONDS, standard_input=_archive(files))
    if finished.exit_status != 0:
        reason = (finished.error_text or "the script printed nothing").splitlines()[-1]
        raise HostError(f"{', '.join(files)} cannot be deployed to host {host.name}: {reason}")


def _archive(files: Mapping[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o600 if name == "node.pem" else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()
