"""The checkers of installers' files, from the installers' own projects."""

import shutil
import warnings
from pathlib import Path

import pytest
from pykickstart.errors import KickstartDeprecationWarning
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from rocks.core.process import run

RELEASES = ("RHEL8", "RHEL9")


def read_kickstart(text: str, release: str) -> KickstartParser:
    """The file as pykickstart reads it for a release; it raises for an error, a deprecation of RHEL 9 fails."""
    parser = KickstartParser(makeVersion(release), errorsAreFatal=True)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", ResourceWarning)  # of an object of another test, which the collector finds meanwhile
        parser.readKickstartFromString(text)
    others = [one for one in found if not issubclass(one.category, KickstartDeprecationWarning)]
    assert [str(one.message) for one in (found if release == "RHEL9" else others)] == []
    return parser


def check_preseed(text: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Question → (type, value) of a file that debconf's own tool accepts."""
    if shutil.which("debconf-set-selections") is None:
        pytest.skip("debconf-set-selections is Debian's")
    path = folder / "preseed.cfg"
    path.write_text(text)
    ended = run(["debconf-set-selections", "-c", str(path)], deadline_seconds=30)
    assert (ended.exit_status, ended.text, ended.error_text) == (0, "", "")
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            owner, question, kind, *value = line.split(" ", 3)
            assert owner == "d-i"
            found[question] = (kind, value[0] if value else "")
    return found
