"""Names of iSCSI targets, snapshots and bookmarks."""

from rocks.storage.image import names


def test_names() -> None:
    """What is not allowed in an iSCSI name is written in hexadecimal."""
    assert names.target_name("NAS-0-0", "VM_1-vol", 7) == "iqn.2001-04.com.nas-0-0:vm-5f1-vol.7"
    name = names.snapshot_name(7, 3, 0)
    assert name == "img-7-3-19700101T000000Z" and names.has_automatic_name(name)
    assert not names.has_automatic_name("img-golden")
    assert names.unit_serial("1", 1) != names.unit_serial("1", 2) and len(names.unit_serial("1", 1)) == 16
    assert names.cursor_bookmark("255", "vmh1") == "imgstore_CURSOR_G_00000000000000ff_H_vmh1"
