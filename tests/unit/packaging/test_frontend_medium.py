"""What is on the medium from which a machine becomes a frontend."""

from __future__ import annotations

import re

from lab.namespace import CHECKOUT


def _names(file: str, pattern: str) -> set[str]:
    found = re.search(pattern, (CHECKOUT / file).read_text("utf-8"), re.MULTILINE)
    assert found, f"{file} has no line {pattern}"
    return set(found[1].split())


def test_it_has_all_that_the_frontend_s_profile_installs() -> None:
    medium = _names("roll/frontend/build", r"^wanted='([^']+)'$")
    profile = _names("tests/golden/profile/frontend.sh", r"^rocks_packages_deb (.+)$")

    assert "rocks-cli" in medium
    assert profile - medium == set()
