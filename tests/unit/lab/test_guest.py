"""The first stage of a guest: its initramfs archive, the order of its modules, its disk."""

import io
import lzma
import stat
import struct
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.guest import archive, disk_image, image, kernel
from lab.guest.archive import Entry
from rocks.core.errors import StateError, UserError

# The initramfs archive, read back as the kernel reads it.


_HEADER_BYTES = 110


def read_archive(data: bytes) -> list[Entry]:
    """Entries of a newc archive, the closing one left out; asserts what the form demands."""
    entries, position = [], 0
    while True:
        assert position % 4 == 0 and data[position : position + 6] == b"070701"
        text = data[position + 6 : position + _HEADER_BYTES]
        fields = [int(text[at : at + 8], 16) for at in range(0, 104, 8)]
        mode, size, device, name_bytes = fields[1], fields[6], (fields[9], fields[10]), fields[11]
        name = data[position + _HEADER_BYTES : position + _HEADER_BYTES + name_bytes - 1].decode()
        position = (position + _HEADER_BYTES + name_bytes + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert position == len(data)
            return entries
        entries.append(Entry(name, mode, data[position : position + size], device))
        position = (position + size + 3) // 4 * 4


@given(
    st.lists(
        st.builds(
            archive.document,
            st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=30).filter(
                lambda name: name != "TRAILER!!!"
            ),
            st.binary(max_size=50),
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_back(entries: list[Entry]) -> None:
    assert read_archive(archive.write_archive(entries)) == entries


def test_kinds_of_entries_have_their_modes() -> None:
    assert stat.S_ISDIR(archive.folder("bin").mode)
    assert archive.program("init", b"").mode == stat.S_IFREG | 0o755
    assert archive.document("order", b"").mode == stat.S_IFREG | 0o644
    console = archive.character_device("dev/console", 5, 1)
    assert stat.S_ISCHR(console.mode) and console.device == (5, 1)


def test_the_same_content_gives_the_same_bytes() -> None:
    entries = [archive.folder("bin"), archive.program("bin/busybox", b"x")]
    assert archive.write_archive(entries) == archive.write_archive(entries)


# The order in which a guest loads its modules.


NUMBERS = range(8)


def test_dependencies_are_read_from_the_module_itself() -> None:
    module = b"\x7fELF...license=GPL\0depends=virtio_ring,virtio-pci\0name=virtio\0"
    assert kernel.dependencies(module) == ("virtio_ring", "virtio_pci")
    assert kernel.dependencies(b"\x7fELF\0depends=\0name=x\0") == ()
    assert kernel.dependencies(b"no such section") == ()


@given(st.lists(st.tuples(st.sampled_from(NUMBERS), st.sampled_from(NUMBERS)), max_size=20))
def test_every_module_comes_after_what_it_needs_and_once(pairs: list[tuple[int, int]]) -> None:
    # an arrow from the larger number to the smaller: no circles, as in a kernel
    needs = {str(n): sorted({str(min(a, b)) for a, b in pairs if max(a, b) == n and a != b}) for n in NUMBERS}
    order = kernel.load_order(["7", "3"], needs)
    assert len(order) == len(set(order)) and {"7", "3"} <= set(order)
    for name in order:
        assert all(order.index(need) < order.index(name) for need in needs[name])


def test_without_an_unpacked_kernel_the_error_names_the_set_up(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="make setup"):
        kernel.find_kernel(tmp_path)


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no module"):
        kernel.read_modules(tmp_path, tmp_path / "vmlinuz-6.1.0")


def test_compressed_modules_are_read_and_what_is_built_in_is_left_out(tmp_path: Path) -> None:
    """As in the kernel of Debian 13."""
    folder = tmp_path / "lib/modules/6.12"
    (folder / "kernel/net").mkdir(parents=True)
    (folder / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    plain, needed = b"\x7fELF\0depends=net-failover\0", b"\x7fELF\0depends=\0"
    (folder / "kernel/net/virtio_net.ko").write_bytes(plain)
    (folder / "kernel/net/net-failover.ko.xz").write_bytes(lzma.compress(needed))
    found = kernel.read_modules(tmp_path, tmp_path / "vmlinuz-6.12", ("virtio_pci", "virtio_net"))
    assert list(found.items()) == [("net_failover", needed), ("virtio_net", plain)]


# The disk's first sector, and what the disk contains for the guest.


def test_the_first_sector_names_one_active_partition() -> None:
    sector = disk_image.master_boot_record(b"\x90" * 440)
    assert len(sector) == 512 and sector.endswith(b"\x55\xaa")
    active, kind, first, count = struct.unpack("<B3xB3xII", sector[446:462])
    assert (active, kind) == (0x80, 0x0E)
    assert (first + count) * 512 == disk_image.IMAGE_BYTES
    assert sector[462:510] == bytes(48)


def test_boot_code_must_not_run_into_the_partition_table() -> None:
    with pytest.raises(StateError, match="441 bytes"):
        disk_image.master_boot_record(b"\x90" * 441)


def test_the_kernel_command_line_contains_the_guest_name() -> None:
    append = next(line for line in image.configuration("vm-a-0").splitlines() if "APPEND" in line)
    assert append.split()[-1] == "rocks_name=vm-a-0" and "console=ttyS0" in append


def test_further_arguments_follow_the_name() -> None:
    append = next(
        line for line in image.configuration("vc1", "rocks_role=frontend").splitlines() if "APPEND" in line
    )
    assert append.split()[-2:] == ["rocks_name=vc1", "rocks_role=frontend"]


@pytest.mark.parametrize("name", ["", "a b", "a\nLABEL x", 'a"b', "ä"])
def test_a_name_that_could_add_to_the_command_line_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a guest"):
        image.make_disk(tmp_path / "base", tmp_path / "disk", name, 10**9)


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least"):
        image.make_disk(tmp_path / "base", tmp_path / "disk", "vm-a-0", disk_image.IMAGE_BYTES - 1)


def test_the_frontend_of_a_larger_disk_knows_where_its_archive_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / name for name in ("base", "vmlinuz", "system", "disk")}
    for name in ("base", "vmlinuz", "system"):
        files[name].write_bytes(name.encode() * 1000)
    passed: list[str] = []

    def make_disk(base: Path, disk: Path, name: str, size_bytes: int, parameters: str = "") -> None:
        passed.extend(parameters.split())
        disk.write_bytes(bytes(size_bytes))

    monkeypatch.setattr(kernel, "find_kernel", lambda folder: files["vmlinuz"])
    monkeypatch.setattr(kernel, "read_modules", lambda folder, image_kernel: {})
    monkeypatch.setattr(image, "make_disk", make_disk)
    image.make_frontend_disk(files["base"], tmp_path, files["disk"], "vc1", files["system"])
    disk = files["disk"].read_bytes() + b"the rest of the disk" * 1000
    first, count = (int(number) for number in passed[1].removeprefix("rocks_cargo=").split(","))
    archive = disk[first * 512 : (first + count) * 512]
    assert archive + b"the rest of the disk" * 1000 == disk[disk_image.IMAGE_BYTES :]
    with tarfile.open(fileobj=io.BytesIO(archive)) as cargo:
        assert cargo.getnames() == ["vmlinuz", "system", "initrd"]
