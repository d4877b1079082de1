"""Kernel support for 802.1Q and packet filters is probed once for each boot."""

from pathlib import Path

import pytest

from rocks.network.host.kernel_support import has_8021q


def test_kernel_support_is_asked_once_for_each_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading netlink's library costs more than all the rest of a facts call."""
    monkeypatch.setattr("rocks.network.host.kernel_support._LOADED", tmp_path / "absent")
    asked = []

    def ask() -> bool:
        asked.append(1)
        return False

    assert not has_8021q(tmp_path / "state", ask)
    assert not has_8021q(tmp_path / "state", ask)
    assert asked == [1]
    monkeypatch.setattr("rocks.network.host.kernel_support._LOADED", tmp_path)
    assert has_8021q(tmp_path / "state", ask)
    assert asked == [1]
