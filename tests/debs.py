"""Debian packages for tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rocks.process import run_checked


def make_empty_deb(folder: Path, name: str, version: str) -> Path:
    """A package without files, for every architecture, in a folder that is made; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{version.rpartition(':')[2]}_all.deb"
    with tempfile.TemporaryDirectory() as tree:
        control = Path(tree, "DEBIAN/control")
        control.parent.mkdir()
        control.write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\n"
            "Description: a package of a test\n"
        )
        Path(tree).chmod(0o755)
        run_checked(["dpkg-deb", "--build", "--root-owner-group", tree, str(path)], deadline_seconds=60)
    return path
