"""What a checkout remembers of the lab that runs."""

from pathlib import Path

import pytest

from lab.build import own_packages, parts
from lab.build.parts import Releases
from lab.machines import checkout
from rocks.core.errors import StateError


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a lab that is about to start."""
    for name, file in (("_BUILD_RECORD", "built"), ("_CPUS_RECORD", "cpus"), ("_PATCH_RECORD", "patched")):
        monkeypatch.setattr(checkout, name, tmp_path / file)
    monkeypatch.setattr(checkout, "STATE", tmp_path)
    return tmp_path


def refusal_of_modules() -> str:
    """The error of a lab whose modules are not those of the checkout."""
    with pytest.raises(StateError) as refused:
        checkout.check_same_modules()
    return str(refused.value)


def test_changed_modules_are_named_until_the_machines_have_them(
    record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `bin/lab patch`, which leaves the build as it is, or by a new build, which has no patch."""
    checkout.record_build(1)
    checkout.check_same_modules()
    monkeypatch.setattr(own_packages, "modules_key", lambda: "changed")
    checkout.check_same_build()
    assert "`bin/lab patch` copies these" in refusal_of_modules()
    checkout.record_patch("interrupted")
    assert "`bin/lab patch` copies these" in refusal_of_modules()
    checkout.record_patch("changed")
    checkout.check_same_modules()
    assert checkout.is_patched()
    monkeypatch.setattr(own_packages, "modules_key", lambda: "changed again")
    assert "`make lab-stop`, then `make lab`" in refusal_of_modules()
    checkout.record_build(1)
    checkout.check_same_modules()
    assert not checkout.is_patched()


def test_a_lab_of_other_sources_is_refused(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one whose record another version wrote."""
    checkout.record_build(1)
    monkeypatch.setattr(own_packages, "packages_key", lambda modules: "other units")
    with pytest.raises(StateError, match="`make lab-stop`, then `make lab`"):
        checkout.check_same_build()
    (record / "built").write_text("Keys(tree='5ffc', image='e9fd')", encoding="ascii")
    with pytest.raises(StateError, match="`make lab-stop`, then `make lab`"):
        checkout.check_same_build()


def test_a_lab_with_another_number_of_processors_is_refused(record: Path) -> None:
    """The saved states of its machines hold the number; the error for another number names the remedy."""
    checkout.record_build(2)
    checkout.check_same_build()
    checkout.check_same_cpus(2)
    with pytest.raises(StateError) as refused:
        checkout.check_same_cpus(1)
    assert "cpus=2 for each machine, not cpus=1: `make lab-stop`" in str(refused.value)


def test_a_lab_of_isos_goes_on_with_these_isos_only(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its modules are those of the ISOs, and the packaging of the checkout is none of its parts."""
    monkeypatch.setattr(parts, "modules_on_isos", lambda cache, isos: own_packages.modules_key())
    checkout.record_build(1)
    assert not checkout.is_of_isos()
    with pytest.raises(StateError, match="the lab runs, built from Debian's mirrors: `make lab-stop`"):
        checkout.check_same_isos("key")
    checkout.record_build(1, "key")
    assert checkout.is_of_isos()
    checkout.check_same_isos("key")
    monkeypatch.setattr(own_packages, "packages_key", lambda modules: "other units")
    checkout.check_same_build()
    checkout.check_same_modules()
    with pytest.raises(StateError, match="the lab runs, built from other ISOs"):
        checkout.check_same_isos("another")
    monkeypatch.setattr(own_packages, "modules_key", lambda: "changed")
    assert "`make roll`, `make lab-stop`, then `make lab ISOS=" in refusal_of_modules()


def test_a_lab_of_another_release_goes_on_and_is_no_lab_of_this_one(record: Path) -> None:
    """Without a release it goes on, whatever it has."""
    checkout.record_build(1, releases=Releases(nas="trixie"))
    checkout.check_same_build()
    checkout.check_same_releases(Releases(nas="trixie"))
    checkout.check_same_releases(Releases())
    with pytest.raises(StateError, match="the lab runs, with hosts=[a-z]+ nas=trixie: `make lab-stop`"):
        checkout.check_same_releases(Releases(hosts="sid"))
