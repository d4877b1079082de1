"""The order in which a guest loads its modules."""

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.guest import kernel
from rocks.core.errors import StateError

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
