"""Debian packages for tests."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from rocks.core.process import run_checked


def make_deb(
    folder: Path,
    name: str,
    version: str = "1.0",
    arch: str = "all",
    depends: str = "",
    files: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """A package with these files (path → content), in a folder that is made; its path, NAME_VERSION_ARCH.deb without
    the epoch.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_{version.rpartition(':')[2]}_{arch}.deb"
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": arch,
        "Maintainer": "nobody <nobody@example.org>",
        "Depends": depends,
        "Description": "a package of a test",
    }
    with tempfile.TemporaryDirectory() as tree:
        control = Path(tree, "DEBIAN/control")
        control.parent.mkdir()
        control.write_text("".join(f"{key}: {value}\n" for key, value in fields.items() if value))
        for file, content in files.items():
            Path(tree, file).parent.mkdir(parents=True, exist_ok=True)
            Path(tree, file).write_text(content)
        Path(tree).chmod(0o755)
        run_checked(["dpkg-deb", "--build", "--root-owner-group", tree, str(path)], deadline_seconds=60)
    return path
