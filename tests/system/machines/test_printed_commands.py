"""Commands that messages print for images, which an operator types as they are: a host reports any file name."""

import os
import shlex

from tests.system.machines.site import NEW, OLD, MachineSite

ODD = "it's; id '$(id)'.img"


def arguments_of(printed: str, before: str, after: str) -> list[str]:
    """What a shell makes of the command between these texts."""
    return shlex.split(printed.partition(before)[2].partition(after)[0])


def test_the_name_of_an_image_is_one_word_and_not_run(machines: MachineSite) -> None:
    machines.add("web")
    odd = machines.image(ODD)
    odd.touch()
    listed = machines.run(f"list host image {OLD}")
    given = arguments_of(listed, "; no other machine starts with it: ", " gives the first")
    assert given == ["rocks", "set", "host", "image", OLD, str(odd), "vm=NAME"]
    remove = ["rocks", "remove", "host", "image", OLD, str(odd)]
    assert arguments_of(listed, "if it is no machine's disk, ", " removes it") == remove
    os.setxattr(odd, "trusted.rocks.machine", machines.uuid("web").encode())
    printed = machines.run("remove host vm web")
    assert arguments_of(printed, "when it is not needed: ", "\n") == remove
    machines.run(shlex.join(remove[1:]))
    assert not odd.exists()


def test_so_is_the_path_of_a_disk(machines: MachineSite) -> None:
    machines.add("web")
    path = str(machines.image("it's.vdb"))
    machines.run(f'add host vm disk web "disk=file:{path},vdb,virtio" disksize=1')
    machines.run("start host vm web")
    remove = ["rocks", "remove", "host", "image", OLD, path]
    assert (
        arguments_of(machines.run("remove host vm disk web vdb"), "the image stays: ", " removes it")
        == remove
    )
    os.setxattr(path, "trusted.rocks.machine", b"another")
    machines.run("stop host vm web")
    machines.run(f'add host vm disk web "disk=file:{path},vdb,virtio"')
    error = machines.refused("start host vm web")
    assert arguments_of(error, "have its content: ", "; if it") == [
        *("rocks", "set", "host", "image", OLD, path, "vm=web")
    ]
    machines.image("it's.vdb", NEW).touch()
    os.setxattr(path, "trusted.rocks.machine", machines.uuid("web").encode())
    remove[4:] = [NEW, str(machines.image("it's.vdb", NEW))]
    assert arguments_of(machines.refused(f"move host vm web {NEW}"), "if it is not needed: ", "\n") == remove
