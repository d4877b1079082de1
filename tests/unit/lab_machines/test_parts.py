"""The order in which a lab is built, with programs that make small folders in place of mmdebstrap and compilers."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.build import iso_images, own_packages, parts, settings, trees, workshop
from lab.build.cache import Cache
from lab.build.mirrors import names_of_releases, release
from lab.build.parts import Releases
from lab.progress import Progress
from rocks.core.errors import ToolError

_KERNEL = "6.1.0-1-amd64"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made, in order."""
    found: list[str] = []

    def make_tree(folder: Path, *arguments: object) -> None:
        found.append("qemu" if len(arguments) == 4 else "tree")
        (folder / "lib/modules" / _KERNEL).mkdir(parents=True)
        (folder / "boot").mkdir()
        (folder / f"boot/vmlinuz-{_KERNEL}").touch()

    def make(name: str) -> object:
        return lambda *arguments: found.append(name)

    def compile_modules(shop: Path, tree: Path, into: Path, compiled: Sequence[Path]) -> None:
        assert trees.kernel_release(tree) == _KERNEL and shop.is_dir() and compiled
        found.append("zfs")
        (into / "zfs.ko").touch()

    def write(tree: Path, *arguments: object) -> None:
        assert (tree / f"lib/modules/{_KERNEL}/extra/zfs.ko").exists()
        Path(str(arguments[-1])).touch()

    monkeypatch.setattr(trees, "make_tree", make_tree)
    monkeypatch.setattr(trees, "run_inside", lambda *arguments: "")
    monkeypatch.setattr(workshop, "make_workshop", make("workshop"))
    monkeypatch.setattr(workshop, "build_instruments", make("instruments"))
    monkeypatch.setattr(workshop, "build_zfs", compile_modules)
    monkeypatch.setattr(own_packages, "build_packages", make("packages"))
    monkeypatch.setattr(own_packages, "install_packages", lambda *arguments: None)
    monkeypatch.setattr(settings, "apply_settings", lambda *arguments: None)
    monkeypatch.setattr(parts, "write_initramfs", write)
    monkeypatch.setattr(parts, "write_image", write)
    monkeypatch.setattr(parts, "sources", lambda **options: "")

    def make_images(into: Path, isos: Sequence[Path], progress: Progress) -> None:
        found.append("images of " + " ".join(iso.name for iso in isos))
        for name in ("nas.img", "host.img", "vmlinuz"):
            (into / name).touch()
        (into / iso_images.MODULES_RECORD).write_text("of the ISOs", encoding="ascii")

    monkeypatch.setattr(iso_images, "make_images", make_images)
    return found


def test_parts_are_made_once_each_after_those_that_it_needs(tmp_path: Path, made: list[str]) -> None:
    cache = Cache(tmp_path)
    (tmp_path / "zfs-of-another-key").mkdir()
    built = parts.build(cache, Progress(lambda line: None))
    assert made == ["qemu", "tree", "workshop", "instruments", "zfs", "packages"]
    assert built.image("nas").exists() and built.image("host").exists() and built.kernel("host").exists()
    assert not (tmp_path / "zfs-of-another-key").exists()
    assert parts.build(cache, Progress(lambda line: None)) == built and len(made) == 6
    assert parts.is_built(cache)


def test_an_interrupted_build_goes_on_with_the_missing_parts(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And needs no workshop for what is compiled already."""
    cache, printed = Cache(tmp_path), list[str]()
    good = own_packages.build_packages

    def fail(into: Path) -> None:
        raise ToolError("debhelper failed")

    monkeypatch.setattr(own_packages, "build_packages", fail)
    with pytest.raises(ToolError, match="debhelper failed"):
        parts.build(cache, Progress(printed.append))
    assert "our packages for hosts and NASes: failed" in printed[-1]
    monkeypatch.setattr(own_packages, "build_packages", good)
    cache.place("workshop", parts.keys().workshop).rmdir()
    del made[:]
    parts.build(cache, Progress(printed.append))
    assert made == ["packages"]


def test_machines_of_isos_are_made_anew_for_other_isos_only(tmp_path: Path, made: list[str]) -> None:
    """Those of the mirrors stay beside them; the instruments and QEMU are the same for both."""
    cache, progress = Cache(tmp_path / "cache"), Progress(lambda line: None)
    of_mirrors = parts.build(cache, progress)
    one, other = tmp_path / "one.iso", tmp_path / "other.iso"
    one.write_bytes(b"one")
    other.write_bytes(b"other")
    key = iso_images.key_of_isos([one, other])
    assert key == iso_images.key_of_isos([other, one])
    assert not parts.is_built(cache, key)
    del made[:]
    built = parts.build(cache, progress, [one, other])
    assert made == ["images of one.iso other.iso"] and parts.is_built(cache, key)
    assert parts.modules_on_isos(cache, key) == "of the ISOs"
    assert built.of_hosts != of_mirrors.of_hosts and built.instruments == of_mirrors.instruments
    assert parts.build(cache, progress, [other, one]) == built
    assert parts.build(cache, progress) == of_mirrors and built.kernel("host").exists() and len(made) == 1
    other.write_bytes(b"newer")
    parts.build(cache, progress, [one, other])
    assert len(made) == 2 and not built.kernel("host").exists() and of_mirrors.kernel("nas").exists()


def test_nases_of_another_release_have_its_image_and_kernel(tmp_path: Path, made: list[str]) -> None:
    """QEMU and the instruments are the carrying machine's; what was made of one release stays beside the other's."""
    cache, progress = Cache(tmp_path / "cache"), Progress(lambda line: None)
    other = next(name for name in names_of_releases() if name != release())
    one = parts.build(cache, progress)
    del made[:]
    assert not parts.is_built(cache, releases=Releases(nas=other))
    mixed = parts.build(cache, progress, releases=Releases(nas=other))
    assert made == ["tree", "workshop", "zfs"] and parts.is_built(cache, releases=Releases(nas=other))
    assert mixed.image("host") == one.image("host") and mixed.kernel("nas") != one.kernel("nas")
    assert mixed.initramfs("nas").exists() and mixed[2:] == one[2:]
    reverse = parts.build(cache, progress, releases=Releases(hosts=other))
    assert (reverse.of_hosts, reverse.of_nases) == (mixed.of_nases, one.of_nases)
    assert parts.build(cache, progress) == one and made == ["tree", "workshop", "zfs"]
    assert parts.keys(releases=Releases(nas=other)).releases.nas == other
