"""A dry run is refused as the command is, by the NAS, and changes nothing there."""

from tests.system.imgstorage.image_site import NAS
from tests.system.imgstorage.storage_site import HOST, Storage

IMG, MAP = ("host", "storageimg", NAS), ("host", "storagemap", NAS)


REFUSED = [
    (("remove", *IMG, "tank", "parent-vol"), "others need it"),
    (("remove", *IMG, "tank", "parent-vol", "now=yes"), "others need it"),
    (("remove", *IMG, "tank", "mapped-vol"), HOST),
    (("restore", *IMG, "parent-vol"), "is not marked for destruction"),
    (("restore", *IMG, "parent-vol", "snap=nope"), "has no snapshot nope"),
    (("add", *IMG, "tank", "parent-vol", "size=1"), "exists already"),
    (("add", *IMG, "nopool", "new-vol", "size=1"), "nopool"),
    (("add", *IMG, "tank", "new-vol", "size=90000"), "is not made"),
    (("remove", *MAP, "parent-vol"), "is not mapped"),
    (("clean", *MAP, "parent-vol"), "is not mapped"),
]


def test_what_the_nas_refuses(storage: Storage) -> None:
    storage.done("add", *IMG, "tank", "parent-vol", "size=1")
    storage.done("add", *IMG, "tank", "child-vol", "origin=parent-vol")
    storage.map("mapped-vol")
    for command, message in REFUSED:
        refused = storage.refused(*command, "dry-run=yes")
        assert message in refused
        assert storage.refused(*command) == refused


def test_what_the_nas_would_do_is_left_undone(storage: Storage) -> None:
    storage.done("add", *IMG, "tank", "free-vol", "size=1")
    storage.map("held-vol")
    before = [storage.images.row(name) for name in ("free-vol", "held-vol")]
    for command in (
        ("remove", *IMG, "tank", "free-vol"),
        ("remove", *IMG, "tank", "free-vol", "now=yes", "force=yes"),
        ("add", *IMG, "tank", "new-vol", "size=1"),
        ("add", *IMG, "tank", "new-vol", "origin=free-vol"),
        ("remove", *MAP, "held-vol"),
        ("clean", *MAP, "held-vol"),
    ):
        assert f"{NAS}: would " in storage.succeeded(*command, "dry-run=yes").out
    assert [storage.images.row(name)["state"] for name in ("free-vol", "held-vol")] == [
        row["state"] for row in before
    ]
    pools = storage.images.nas.pools
    assert pools.read_volume("tank/new-vol") is None and pools.read_history("tank/free-vol").snapshots == ()
