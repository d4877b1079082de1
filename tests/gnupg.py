"""GnuPG keys for tests, by the real gpg."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rocks.core.process import run, run_checked


class Keys:
    """A GnuPG folder with secret keys; its path is short, for the agent's socket is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--batch", "--homedir", str(self.folder), "--passphrase", "", *arguments]
        return run_checked(
            command, deadline_seconds=120, environment={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
        ).output

    def make(self, user: str, kind: str = "ed25519") -> str:
        # in the past: a signature with the time of the key has that of the clock within the same second
        past = "--faked-system-time=1600000000!"
        self.gpg(past, "--quick-gen-key", f"{user} <{user}@example.org>", kind, "sign", "never")
        return f"{user}@example.org"


@contextlib.contextmanager
def gnupg_folder() -> Iterator[Keys]:
    """An empty GnuPG folder, removed at the end with its agent."""
    folder = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    try:
        yield Keys(folder)
    finally:
        run(["gpgconf", "--homedir", str(folder), "--kill", "gpg-agent"], deadline_seconds=60)
        shutil.rmtree(folder, ignore_errors=True)
