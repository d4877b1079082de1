"""The firewall's part of a profile, run by bash, and its file read by nft."""

import os
import shutil
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.install.graph_files import Library
from rocks.install.host_profiles import write_profile
from tests.golden.profile.cases import CASES
from tests.system.graph.machine import Machine


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="profiles and nft are for root")
def test_a_profile_has_the_rules_loaded_at_boot(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    text = write_profile(CASES["compute_with_firewall"], Library())
    first = machine.done(text)
    assert "packages installed: kmod nftables openssh-server" in first
    assert "changed: unit rocks-firewall.service started" in first
    assert {"enable rocks-firewall.service", "start rocks-firewall.service"} <= set(
        machine.calls("systemctl")
    )
    rules = machine.path("/etc/rocks/firewall.nft")
    assert rules.stat().st_mode & 0o777 == 0o600
    run_checked(["unshare", "--net", "nft", "-f", str(rules)], deadline_seconds=20)
    unit = machine.path("/etc/systemd/system/rocks-firewall.service")
    assert "ExecStart=/usr/sbin/nft -f /etc/rocks/firewall.nft" in unit.read_text()
    assert "profile ends: no changes" in machine.done(text)
    rules.write_text("table ip x\n")
    assert "changed: unit rocks-firewall.service restarted" in machine.done(text)
