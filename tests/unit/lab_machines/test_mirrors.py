"""Mirrors as apt reports them."""

from __future__ import annotations

import pytest

from lab.build.mirrors import Mirrors, parse_mirrors, sources
from rocks.errors import StateError

_LINES = [
    "Packages http://one.example/debian/ bookworm main",
    "Translations http://one.example/debian/ bookworm main",
    "Packages http://two.example/debian/ bookworm main",
    "Packages http://one.example/debian/ bookworm-updates main",
    "Packages http://one.example/security/ bookworm-security main",
    "Packages http://other.example/ stable extra",
]


def test_first_mirror_of_each_archive_counts() -> None:
    """Other archives and other kinds of index are passed over."""
    assert parse_mirrors(_LINES) == Mirrors("http://one.example/debian", "http://one.example/security")


def test_missing_archive_is_one_sentence() -> None:
    """Without the security archive the kernel's packages are not found."""
    with pytest.raises(StateError, match="no mirror of bookworm-security"):
        parse_mirrors(_LINES[:4])


def test_sources_name_contrib_and_backports_only_when_asked() -> None:
    """ZFS's source is in contrib; QEMU 10 in the backports."""
    mirrors = parse_mirrors(_LINES)
    assert sources(mirrors).count("Components: main contrib") == 2
    assert "backports" not in sources(mirrors)
    assert "Suites: bookworm bookworm-updates bookworm-backports\n" in sources(mirrors, backports=True)
