"""The images on NASes of a machine that moves while it runs: they follow when it has arrived, paused until then.

Each goes the way of any other image: written back and unmapped from the old host, then mapped to the new one, under a
new epoch. So two hosts never write to it, and a command that was killed is completed by repeating it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rocks.core.errors import CLASSES, BusyError, Code, HostError, RocksError, StateError
from rocks.storage.image.states import LOCAL, MAPPED, PULLING, REMOTE, SEEDING, SWITCHING
from rocks.storage.volumes.place_records import disk_locations
from rocks.storage.volumes.places import follows, plan_images, pool_of
from rocks.storage.wire.requests import PullZvol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import Lease, VirtualMachine
    from rocks.machine.moves.moves import MoveReporter
    from rocks.storage.client import StorageClient
    from rocks.storage.volumes.places import ImageSpec
    from rocks.storage.wire.replies import ImageRow


class Watching(NamedTuple):
    """Progress of the transfers; without `reporter` nobody watches."""

    reporter: MoveReporter | None

    @property
    def displays_progress(self) -> bool:
        return self.reporter is not None

    def progress(self, line: str) -> None:
        if self.reporter is not None:
            self.reporter.progress(line)

    def left(self, line: str) -> None:
        if self.reporter is not None:
            self.reporter.notify(line)


def image_devices(vm: VirtualMachine) -> tuple[str, ...]:
    """The devices of its images on NASes."""
    return tuple(disk.path for disk in vm.disks if disk.is_mapped)


def check_images(database: Database, vm: VirtualMachine, there: VirtualMachine) -> None:
    """StateError when an image cannot follow the machine, BusyError when it cannot yet; errors of NAS and new host.

    `vm` is the machine on its old host, `there` the same on the new one.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    images = _images(database, there)
    if not images:
        return
    assert vm.container is not None and there.container is not None
    for image in images:
        if not vm.disks[image.number].is_block:
            raise cannot_move(
                vm, f"{vm.disks[image.number].specification} is on a NAS from its next start on"
            )
    if not follows(there.container, vm.host):
        raise cannot_move(
            vm,
            f"{there.container.name} gets no copies of images (img_sync), and only an image with a copy moves",
        )
    with open_storage(database) as storage:
        for image in images:
            row = _row(storage.ask(asking.images_of(image.nas)), image)
            _check_image(vm, image, row)
        storage.ask(asking.initiator_of(there.container.name))  # its daemon runs


def _check_image(vm: VirtualMachine, image: ImageSpec, row: ImageRow | None) -> None:
    assert vm.container is not None
    name, host = f"{image.nas}:{image.volume}", vm.container.name
    if row is None or row.remotehost != host:
        other = "" if row is None or row.remotehost is None else f", but to {row.remotehost}"
        raise cannot_move(vm, f"its image {name} is not mapped to {host}{other}")
    if not row.persistent or image.is_persistent is False:
        raise cannot_move(
            vm, f"the changes to its image {name} are discarded when it is unmapped (not persistent)"
        )
    if row.state == REMOTE:
        raise cannot_move(vm, f"its image {name} has no copy on {host} (img_sync no)")
    if row.state in (MAPPED, SEEDING, SWITCHING):
        raise BusyError(
            f"{vm.name} does not move while it runs until its image {name} is copied to {host}: rocks list host "
            f"storageop {image.nas} shows the progress"
        )
    if row.state not in (LOCAL, PULLING):
        raise cannot_move(vm, f"its image {name} is {row.state}: rocks list host storagemap {image.nas}")


def cannot_move(vm: VirtualMachine, why: str) -> StateError:
    """The error of a machine that cannot move while it runs."""
    return StateError(f"{vm.name} does not move while it runs: {why}; stop it, and move it without live=yes")


def pull_images(
    database: Database, vm: VirtualMachine, there: VirtualMachine, reporter: MoveReporter
) -> None:
    """Have the NASes take the changes so far, so that little is left for the moment when the machine is paused.

    Afterwards the images are checked as by `check_images`. BusyError when a NAS needs longer than a start would wait.
    """
    from rocks.storage.volumes.access import open_storage

    images = _images(database, vm)
    if not images:
        return
    with open_storage(database) as storage:
        why = f"{vm.name} is not moved, since its changes are not written back yet"
        pull_each(storage, images, why, Watching(reporter))
    reporter.progress("")
    check_images(database, vm, there)


def pull_each(
    storage: StorageClient,
    images: Sequence[ImageSpec],
    why: str,
    watching: Watching,
    seconds: float | None = None,
) -> None:
    """Have the NASes take the changes so far, within that time; None: that of a start.

    The error of a NAS, behind `why`; BusyError when it needs longer.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.map_batches import START_WAIT_SECONDS

    asked = {image.volume: asking.question(image.nas, PullZvol(image.volume)) for image in images}
    for error in storage.wait_each(asked, seconds or START_WAIT_SECONDS, watching).values():
        if isinstance(error, RocksError):
            raise CLASSES[error.family](f"{why}: {error}", code=error.code)


def check_current(database: Database, vm: VirtualMachine) -> None:
    """StateError when an image cannot have what its guest has written, which is paused and is to go on with it."""
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage

    with open_storage(database) as storage:
        for image in _images(database, vm):
            name, row = (
                f"{image.nas}:{image.volume}",
                _row(storage.ask(asking.images_of(image.nas)), image),
            )
            if row is None or row.state == "deleting":
                raise StateError(f"{name} does not exist any more, or was removed")
            if not row.persistent:
                raise StateError(
                    f"{name} was set to be not persistent, so what the guest has written last may have been discarded"
                )


def release_images(
    database: Database,
    vm: VirtualMachine,
    lease: Lease,
    reporter: MoveReporter | None,
    end_departure: Callable[[], None],
    seconds: float | None,
) -> None:
    """Unmap the images of the machine that its old host still has; `end_departure` is called before.

    Raises its error, or that of a NAS; the same call goes on then. BusyError when a NAS does not have all changes
    within that time; None: that of a start.
    """
    from rocks.storage.client import asking
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import START_WAIT_SECONDS, is_not_mapped

    with open_storage(database) as storage:
        asked = {}
        for image in _images(database, vm):
            row = _row(storage.ask(asking.images_of(image.nas)), image)
            # the daemon of the old host may have begun by itself
            if row is not None and row.remotehost == lease.host:
                asked[image.volume] = asking.unmap_image(image.nas, image.volume)
        if not asked:
            return
        end_departure()  # its guest's device would be in use
        answers = storage.wait_each(asked, seconds or START_WAIT_SECONDS, Watching(reporter))
    for error in answers.values():
        if isinstance(error, RocksError) and not is_not_mapped(error):
            raise error


def map_images_there(
    database: Database, there: VirtualMachine, lease: Lease, reporter: MoveReporter | None
) -> None:
    """Map the images to the new host of the machine, which is paused there. Raises the error of a NAS or host."""
    from rocks.storage.volumes.access import open_storage
    from rocks.storage.volumes.map_batches import map_arrived

    assert there.container is not None
    # with a copy, whatever the attributes are by now: without one the guest's device would be another
    pool = pool_of(there.container)
    images = [image._replace(sync=True, pool=image.pool or pool) for image in _images(database, there)]
    devices = {number: disk.path for number, disk in enumerate(there.disks)}
    with open_storage(database) as storage:
        map_arrived(storage, images, devices, lease.token, Watching(reporter))
    if reporter is not None:
        reporter.progress("")


def arrived_without(vm: VirtualMachine, target: str, error: RocksError, *, is_paused: bool) -> RocksError:
    """The error of a machine that has arrived, and whose images have not; its code is IMAGES_FOLLOW."""
    state = "paused until its images follow it" if is_paused else "off, and its images have not followed it"
    return CLASSES[error.family](
        f"{vm.name} is on {target}, {state}: {error}. When that is repaired: rocks move host vm {vm.name} {target} "
        f'live=yes; or, to end its guest: rocks stop host vm {vm.name} force=yes reason="…"',
        code=Code.IMAGES_FOLLOW,
    )


def no_resume(vm: VirtualMachine, target: str, error: RocksError) -> HostError:
    """The error of a machine that has arrived with its images, and was not resumed."""
    return HostError(
        f"{vm.name} is on {target} with its images, and may be paused: {error}. Then: rocks move host vm {vm.name} "
        f"{target} live=yes"
    )


def _images(database: Database, vm: VirtualMachine) -> list[ImageSpec]:
    """The images of the machine, on its recorded or new host."""
    return plan_images(vm, disk_locations(database, [vm.name]))


def _row(rows: tuple[ImageRow, ...], image: ImageSpec) -> ImageRow | None:
    return next((row for row in rows if row.zvol == image.volume), None)
