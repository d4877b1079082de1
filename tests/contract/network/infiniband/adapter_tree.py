"""A sysfs with InfiniBand adapters, laid out as the kernel's Documentation/ABI/stable/sysfs-class-infiniband and
Documentation/ABI/testing/sysfs-bus-pci say, with what kernel 6.1 puts into each file."""

from pathlib import Path

PHYSICAL_KEYS = 16
"""127 on an adapter; fewer keep the tests quick."""

VISIBLE_KEYS = 8


class AdapterTree:
    """Folders and links of one machine's adapters below `sysfs`."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        (sysfs / "bus/pci/devices").mkdir(parents=True)
        (sysfs / "class/infiniband").mkdir(parents=True)

    def add_adapter(self, device: str, slot: str, vfs: int, kind: str = "mlx4", ports: int = 1) -> None:
        """An adapter at PCI slot such as 0000:03:00, function 0, and `vfs` virtual ones behind it."""
        physical = self._pci(f"{slot}.0")
        folder = physical / "infiniband" / device
        folder.mkdir(parents=True)
        (physical / "net/ib0").mkdir(parents=True)
        (folder / "device").symlink_to(physical)
        (self.sysfs / "class/infiniband" / device).symlink_to(folder)
        for port in range(1, ports + 1):
            self._port(folder / "ports" / str(port), port)
        for number in range(vfs):
            virtual = self._pci(f"{slot}.{number + 1}")
            (virtual / "physfn").symlink_to(physical)
            (physical / f"virtfn{number}").symlink_to(virtual)
            if kind == "mlx4":
                self._map(folder / "iov", virtual.name, number + 1, ports)
            elif kind == "vendor":
                write(
                    physical / "sriov" / str(number),
                    node="00:" * 7 + "00",
                    port="00:" * 7 + "00",
                    policy="Down",
                )
        if kind == "mlx4":
            for port in range(1, ports + 1):
                self._tables(folder / "iov/ports" / str(port), port)

    def add_other_device(self, address: str) -> None:
        """A PCI device that is not a VF."""
        self._pci(address)

    def set_keys(self, device: str, *keys: int, port: int = 1) -> None:
        """The subnet manager programs a port's table."""
        folder = self.sysfs / "class/infiniband" / device
        for table in (folder / "ports" / str(port) / "pkeys", folder / "iov/ports" / str(port) / "pkeys"):
            if table.is_dir():
                for index in range(PHYSICAL_KEYS):
                    key = keys[index] if index < len(keys) else 0
                    # replaced, because a reader in another thread must not see an empty file
                    new = table.parent / f"{table.name}.new"
                    new.write_text(f"0x{key:04x}\n")
                    new.replace(table / str(index))

    def map_of(self, device: str, address: str, port: int = 1) -> list[str]:
        """The map of a VF, by virtual index."""
        folder = self.sysfs / "class/infiniband" / device / "iov" / address / "ports" / str(port) / "pkey_idx"
        return [(folder / str(index)).read_text().strip() for index in range(VISIBLE_KEYS)]

    def value(self, device: str, path: str) -> str:
        """A file below an adapter's folder."""
        return (self.sysfs / "class/infiniband" / device / path).read_text().strip()

    def _pci(self, address: str) -> Path:
        folder = self.sysfs / "devices/pci0000:00" / address
        folder.mkdir(parents=True)
        (self.sysfs / "bus/pci/devices" / address).symlink_to(folder)
        return folder

    def _port(self, folder: Path, port: int) -> None:
        write(folder, state="4: ACTIVE")
        write(folder / "gids", **{"0": f"fe80:0000:0000:0000:0002:c903:00a1:b2c{port}"})
        write(folder / "pkeys", **{str(index): "0x0000" for index in range(PHYSICAL_KEYS)})

    def _tables(self, folder: Path, port: int) -> None:
        write(folder / "pkeys", **{str(index): "0x0000" for index in range(PHYSICAL_KEYS)})
        write(folder / "gids", **{str(n): f"fe80:0000:0000:0000:0002:c903:00a1:b2c{port}" for n in range(4)})
        write(folder / "admin_guids", **{str(index): "0" for index in range(8)})
        (folder / "mcgs").mkdir()

    def _map(self, iov: Path, address: str, number: int, ports: int) -> None:
        for port in range(1, ports + 1):
            folder = iov / address / "ports" / str(port)
            write(folder / "gid_idx", **{"0": str(number)})
            # mlx4 maps a new VF to physical index 0, the default partition
            write(folder / "pkey_idx", **{str(n): "none" if n else "0" for n in range(VISIBLE_KEYS)})
            write(folder, smi_enabled="0", enable_smi_admin="0")


def write(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in values.items():
        (folder / name).write_text(f"{text}\n")
