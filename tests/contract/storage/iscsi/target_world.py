"""A NAS for the cases on targets and sessions: in memory, and LIO on this machine over a ZFS volume, on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rocks.core.process import run, run_checked
from rocks.storage.iscsi.names import ChapSecrets, backstore_name
from rocks.storage.iscsi.target import Acl, Backstore, ExportSpec, Lun, TargetConfig, Targets
from tests.fakes.iscsi import FakeTargets
from tests.waiting import wait_until

PREFIX = "iqn.2001-04.com.contract-nas:"
INITIATOR = "iqn.2024-01.org.rocks.lab:some-host"
OTHER = "iqn.2024-01.org.rocks.lab:other-host"
THEIRS = "iqn.2024-01.org.example:theirs"
ADDRESS, PORT = "127.0.0.1", 3260
SIZE_BYTES = 8 * 1024**2
CHAP = ChapSecrets("vm1.3", "host-shows-this-secret", "nas.vm1.3", "nas-answers-with-that")


class World(Protocol):
    """A NAS with two volumes, `vm1` and `vm2`, and what others do to it."""

    targets: Targets

    def device(self, volume: str) -> str: ...  # path of a volume's device

    def take_part(self, target: str, part: str) -> None:
        """Undo a part, as if it had never been made: target, LUN, access list, mapped LUN, portal, gate."""

    def let_in(self, target: str, initiator: str) -> None: ...  # somebody adds an entry to the access list

    def export_theirs(self, backstore: str, device: str | None) -> None:
        """Somebody exports a device as a target of another name; None: a backstore that is there."""

    def theirs(self) -> str | None: ...  # the backstore of that other target, None when it is gone


class FakeWorld:
    def __init__(self) -> None:
        self.fake = FakeTargets(PREFIX)
        self.fake.devices = {self.device(volume): SIZE_BYTES for volume in ("vm1", "vm2")}
        self.targets: Targets = self.fake

    def device(self, volume: str) -> str:
        return f"/dev/zvol/tank/contract-{volume}"

    def take_part(self, target: str, part: str) -> None:
        config = self.fake.configs[target]
        changes: dict[str, Any] = {
            "LUN": {"luns": ()},
            "access list": {"acls": ()},
            "mapped LUN": {"acls": tuple(acl._replace(mapped=()) for acl in config.acls)},
            "portal": {"portals": ()},
            "gate": {},
        }
        if part == "target":
            del self.fake.configs[target]
        else:
            self.fake.configs[target] = config._replace(**{"is_enabled": False, **changes[part]})

    def let_in(self, target: str, initiator: str) -> None:
        config = self.fake.configs[target]
        self.fake.configs[target] = config._replace(acls=(*config.acls, Acl(initiator, None, (), False)))

    def export_theirs(self, backstore: str, device: str | None) -> None:
        if device is not None:
            self.fake.backstores[backstore] = Backstore(
                backstore, device, True, "a-serial-of-theirs", True, ()
            )
        self.fake.configs[THEIRS] = TargetConfig(THEIRS, (1,), True, (), (Lun(0, backstore),), (), ())

    def theirs(self) -> str | None:
        config = self.fake.configs.get(THEIRS)
        return config.luns[0].backstore if config is not None and config.luns else None


class RealWorld:
    """LIO of this machine."""

    def __init__(self) -> None:
        import rtslib_fb

        self.targets = Targets(PREFIX)
        self._library: Any = rtslib_fb
        self._pool = run_checked(["zpool", "list", "-H", "-o", "name"], deadline_seconds=20).text.split()[0]

    def prepare(self) -> None:
        for volume in ("vm1", "vm2"):
            name = f"{self._pool}/contract-{volume}"
            arguments = ["zfs", "create", "-s", "-V", str(SIZE_BYTES), "-o", "volmode=dev", name]
            run_checked(arguments, deadline_seconds=30)
            wait_until(Path(self.device(volume)).exists)

    def clean(self) -> None:
        with self._rtslib() as library:
            for target in list(library.FabricModule("iscsi").targets):
                target.delete()
            for backstore in list(library.RTSRoot().storage_objects):
                backstore.delete()
        for volume in ("vm1", "vm2"):
            name = f"{self._pool}/contract-{volume}"
            wait_until(partial(self._is_destroyed, name))

    def device(self, volume: str) -> str:
        return f"/dev/zvol/{self._pool}/contract-{volume}"

    def take_part(self, target: str, part: str) -> None:
        with self._rtslib() as library:
            existing = library.Target(library.FabricModule("iscsi"), target, "lookup")
            group = next(existing.tpgs)
            group.enable = False
            parts = {
                "target": lambda: [existing],
                "LUN": lambda: group.luns,
                "access list": lambda: group.node_acls,
                "mapped LUN": lambda: [mapped for acl in group.node_acls for mapped in acl.mapped_luns],
                "portal": lambda: group.network_portals,
                "gate": lambda: [],
            }
            for each in list(parts[part]()):
                each.delete()

    def let_in(self, target: str, initiator: str) -> None:
        with self._rtslib() as library:
            group = library.TPG(library.Target(library.FabricModule("iscsi"), target), 1)
            library.NodeACL(group, initiator)

    def export_theirs(self, backstore: str, device: str | None) -> None:
        with self._rtslib() as library:
            created = {} if device is None else {"dev": device, "wwn": "a-serial-of-theirs", "readonly": True}
            backstore = library.BlockStorageObject(backstore, **created)
            group = library.TPG(library.Target(library.FabricModule("iscsi"), THEIRS), 1)
            library.LUN(group, 0, backstore)
            group.enable = True

    def theirs(self) -> str | None:
        with self._rtslib() as library:
            for target in library.FabricModule("iscsi").targets:
                if target.wwn == THEIRS:
                    group = next(target.tpgs)
                    return next((str(lun.storage_object.name) for lun in group.luns), None)
        return None

    @contextmanager
    def _rtslib(self) -> Iterator[Any]:
        """As another program would see it."""
        from rtslib_fb.tcm import bs_cache

        self._library.RTSRoot()
        saved = dict(bs_cache)
        bs_cache.clear()
        try:
            yield self._library
        finally:
            bs_cache.clear()
            bs_cache.update(saved)

    def _is_destroyed(self, name: str) -> bool:
        finished = run(["zfs", "destroy", name], deadline_seconds=30)
        return finished.exit_status == 0 or "does not exist" in finished.error_text


def export_spec(world: World, volume: str = "vm1", epoch: int = 3, **changes: Any) -> ExportSpec:
    """An export of a volume, read-only, with CHAP, with changes."""
    fields: dict[str, Any] = {
        "target": f"{PREFIX}{volume}-vol.{epoch}",
        "device_path": world.device(volume),
        "read_only": True,
        "initiator": INITIATOR,
        "chap": CHAP,
        "portal_address": ADDRESS,
        "portal_port": PORT,
        "unit_serial": "0123456789abcdef",
        **changes,
    }
    return ExportSpec(**fields)


def backstore(spec: ExportSpec) -> str:
    return backstore_name(spec.target)


@contextmanager
def open_world(kind: str) -> Iterator[World]:
    """The NAS in memory, or the machine's own with all that a case leaves taken away."""
    if kind == "fake":
        yield FakeWorld()
        return
    world = RealWorld()
    world.clean()
    world.prepare()
    try:
        yield world
    finally:
        world.clean()
