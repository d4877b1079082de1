"""Packages and groups of a signed distribution, installed by a real dnf in a fresh root without a network."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rocks.core.process import run_checked
from rocks.install.graph.profile import Profile
from rocks.install.graph.shell import shell_script
from rocks.install.graph.tags import read_node
from rocks.install.graph_files import SITE_GRAPHS, SITE_NODES, Library, own_folders, shell_functions
from rocks.install.host_profiles import write_profile
from rocks.install.rolls import signatures
from rocks.install.rolls.distribution import DistributionPlan, create_distribution
from tests.gnupg import gnupg_folder
from tests.golden.profile.cases import DISTRIBUTION, on_site, vm_host
from tests.packages.fresh_roots import CACHE, Root, make_repository, make_root
from tests.profiles import written_files
from tests.unit.install.graph.hosts import context

_SPEC = """\
Name: site-mark
Version: 1
Release: 1
Summary: A package of a test
License: none
BuildArch: noarch
%description
%files
"""
_GROUPS = """\
<comps>
  <group><id>site-tools</id><name>Tools</name><uservisible>false</uservisible><packagelist/></group>
</comps>
"""
_NODE = b"<kickstart><package>site-mark</package><package type='meta'>site-tools</package></kickstart>"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """Debian with dnf, whose sources are a signed distribution, as a profile writes it, and a repository of groups.

    Both are folders here; HTTPS is part of other tests.
    """
    if os.geteuid() != 0:
        pytest.skip("a root folder is made and entered by root")
    for program in ("mmdebstrap", "apt-ftparchive", "rpmbuild", "createrepo_c", "gpg"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: tools/setup packages, tools/setup roll")
    CACHE.mkdir(parents=True, exist_ok=True)
    repository = make_repository(tmp_path / "repository", [], ("dnf", "rpm"))
    made = Root(make_root(tmp_path / "root", repository))
    try:
        made.done("apt-get", "update", "-q")
        made.install("dnf", "rpm")
        _add_groups(made.folder)
        _add_distribution(made.folder, tmp_path)
        yield made
    finally:
        made.close()
        shutil.rmtree(tmp_path / "root", ignore_errors=True)


def _add_groups(root: Path) -> None:
    (root / "srv/groups").mkdir()
    (root / "srv/groups/comps.xml").write_text(_GROUPS)
    run_checked(["createrepo_c", "-q", "-g", "comps.xml", str(root / "srv/groups")], deadline_seconds=60)
    (root / "etc/yum.repos.d").mkdir(exist_ok=True)
    (root / "etc/yum.repos.d/groups.repo").write_text(
        "[groups]\nname=g\nbaseurl=file:///srv/groups\ngpgcheck=0\n"
    )


def _add_distribution(root: Path, place: Path) -> None:
    """The one package, and the files that a profile writes for its source."""
    (place / "mark.spec").write_text(_SPEC)
    build = [
        "rpmbuild",
        "-bb",
        "--quiet",
        "-D",
        f"_topdir {place}",
        "-D",
        f"_rpmdir {place}/roll/RedHat/RPMS",
    ]
    run_checked([*build, "-D", "_rpmfilename %{NAME}.rpm", str(place / "mark.spec")], deadline_seconds=120)
    plan = DistributionPlan("rocks-dist", "x86_64", [place / "roll"], own_folders(), SITE_NODES, SITE_GRAPHS)
    with gnupg_folder() as keys, pytest.MonkeyPatch.context() as patch:
        keys.make("site")
        patch.setattr(signatures, "SIGNING_FOLDER", keys.folder)
        create_distribution(plan, root / "srv")
        key = signatures.public_key(keys.folder) or ""
    host = replace(vm_host(packaging="rpm"), appliance="compute")
    script = write_profile(on_site(host, "compute", DISTRIBUTION._replace(key=key)), Library())
    written = written_files(script)
    for path in ("/etc/rocks/distribution-key.asc", "/etc/yum.repos.d/rocks.repo"):
        target = root / path.lstrip("/")
        target.parent.mkdir(exist_ok=True)
        target.write_text(written[path].replace("https://10.1.1.1/install/distro", "file:///srv"))


def test_dnf_installs_what_the_site_signed_and_nothing_else(root: Root) -> None:
    node = read_node("n", "n.xml", _NODE, context(packaging="rpm"))
    script = shell_script(Profile("h1", (node,)), shell_functions(), "rpm").encode()
    assert "changed: packages installed: @site-tools site-mark" in root.done("bash", standard_input=script)
    assert "profile ends: no changes" in root.done("bash", standard_input=script)

    root.done("rpm", "--erase", "site-mark")
    index = root.folder / "srv/rocks-dist/x86_64/repodata/repomd.xml"
    signature = index.with_name("repomd.xml.asc")
    good = index.read_text(), signature.read_bytes()
    index.write_text(good[0].replace("<revision>", "<revision>9"))
    _check_refused(root, script, "GPG signature verification error: Bad GPG signature")
    index.write_text(good[0])
    signature.unlink()
    _check_refused(root, script, "GPG signature is not available")
    signature.write_bytes(good[1])
    assert "changed: packages installed: site-mark" in root.done("bash", standard_input=script)


def _check_refused(root: Root, script: bytes, message: str) -> None:
    """After the last lists have expired."""
    root.done("rm", "-rf", "/var/cache/dnf")
    assert message in root.run("dnf", "-y", "makecache").error_text
    refused = root.run("bash", standard_input=script)
    assert refused.exit_status == 1 and "dnf did not install site-mark" in refused.error_text
    assert root.run("rpm", "--query", "site-mark").exit_status != 0
