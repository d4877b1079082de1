"""Facts of the machine: memory, processors, its system."""

from __future__ import annotations

from pathlib import Path

import pytest

from rocks.fleet.wire.facts import NodeFact, PagesFact, PciFact, ShapeFact, ShapeQuestion
from rocks.machine.host.facts import _read_system, parse_cpu_list, parse_memory_kib, read_machine, read_shape


def test_machine_facts() -> None:
    """Memory and processors are positive; `MemTotal` is parsed in KiB, 0 without it."""
    fact = read_machine()
    assert fact.memory_mb > 100 and fact.cpus >= 1
    assert parse_memory_kib("MemFree: 5 kB\nMemTotal:   2048 kB\n") == 2048
    assert parse_memory_kib("") == 0


@pytest.mark.parametrize(
    ("text", "system"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\nVERSION_ID="12"\n', "debian 12"),
        ("ID=debian\n", "debian"),
        ("ID='my own'\nVERSION_ID=9\n", "9"),
        (f"ID={'a' * 1000}\nVERSION_ID=\x1b[2J\n", ""),
        ("", ""),
    ],
)
def test_the_system_of_a_machine(tmp_path: Path, text: str, system: str) -> None:
    """An odd file makes no fact that the frontend would refuse."""
    (tmp_path / "os-release").write_text(text, "utf-8")
    assert _read_system(tmp_path / "os-release") == system
    assert _read_system(tmp_path / "absent", tmp_path / "os-release") == system
    assert _read_system(tmp_path / "absent") == ""


# The shape of a machine, from trees as the kernel has them, and from this machine.

GIB_KB = 1024 * 1024


def write(folder: Path, files: dict[str, str]) -> None:
    """Files with their folders."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_two_nodes_with_threads_pages_and_a_cpu_that_is_offline(tmp_path: Path) -> None:
    pages = "devices/system/node/node1/hugepages/hugepages-2048kB"
    write(
        tmp_path,
        {
            "devices/system/cpu/online": "0-4,6-7\n",
            "devices/system/node/node0/cpulist": "0-1,4-5\n",
            "devices/system/node/node0/meminfo": f"Node 0 MemTotal:       {GIB_KB} kB\nNode 0 MemFree: 1 kB\n",
            "devices/system/node/node1/cpulist": "2-3,6-7\n",
            "devices/system/node/node1/meminfo": f"Node 1 MemTotal: {2 * GIB_KB} kB\n",
            "devices/system/node/node2/cpulist": "\n",
            "devices/system/node/node2/meminfo": "Node 2 MemTotal: 5 kB\n",
            f"{pages}/nr_hugepages": "64\n",
            f"{pages}/free_hugepages": "60\n",
            "cpuinfo": "flags\t\t: fpu topoext svm\n",
            **{
                f"devices/system/cpu/cpu{cpu}/topology/{'core_cpus_list' if cpu % 4 < 3 else 'thread_siblings_list'}": (
                    f"{cpu % 4},{cpu % 4 + 4}\n"
                )
                for cpu in range(8)
            },
        },
    )
    found = read_shape(ShapeQuestion(("0000:3b:00.0",)), tmp_path, tmp_path)
    assert found == ShapeFact(
        (
            NodeFact(0, GIB_KB, ((0, 4), (1,))),
            NodeFact(1, 2 * GIB_KB, ((2, 6), (3, 7)), (PagesFact(2048, 64, 60),)),
            NodeFact(2, 5, ()),
        ),
        (PciFact("0000:3b:00.0", False, None),),
        has_topoext=True,
    )


def test_a_kernel_without_numa_has_one_node(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "devices/system/cpu/cpu0/uevent": "",
            "devices/system/cpu/cpu1/uevent": "",
            "devices/system/cpu/cpufreq/x": "",
            "meminfo": "MemTotal: 2048 kB\n",
        },
    )
    found = read_shape(ShapeQuestion(), tmp_path, tmp_path)
    assert found == ShapeFact((NodeFact(0, 2048, ((0,), (1,))),))


def test_a_device_has_its_iommu_group(tmp_path: Path) -> None:
    groups = tmp_path / "kernel/iommu_groups/17"
    groups.mkdir(parents=True)
    place = tmp_path / "bus/pci/devices/0000:3b:00.0"
    place.mkdir(parents=True)
    (place / "iommu_group").symlink_to(groups)
    (tmp_path / "bus/pci/devices/0000:3c:00.0").mkdir()
    found = read_shape(ShapeQuestion(("0000:3b:00.0", "0000:3c:00.0")), tmp_path, tmp_path)
    assert found.devices == (PciFact("0000:3b:00.0", True, 17), PciFact("0000:3c:00.0", True, None))


def test_this_machine() -> None:
    found = read_shape(ShapeQuestion())
    cpus = [cpu for node in found.nodes for core in node.cores for cpu in core]
    assert len(cpus) == len(set(cpus))
    assert sorted(cpus) == parse_cpu_list(Path("/sys/devices/system/cpu/online").read_text())
    assert sum(node.memory_kb for node in found.nodes) > GIB_KB // 4
