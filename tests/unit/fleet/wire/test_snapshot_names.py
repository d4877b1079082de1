"""Names of the files of snapshots."""

import pytest

from rocks.core.errors import UserError
from rocks.fleet.wire.snapshot_names import check_snapshot_name, copy_paths, is_complete, read_copy


def test_a_file_says_what_it_is() -> None:
    paths = copy_paths(["/i/vm.vda", "/i/vm.vdb"], "monday")
    assert paths == ("/i/vm.vda.snapshot.monday.1-of-2", "/i/vm.vdb.snapshot.monday.2-of-2")
    copies = [copy for copy in map(read_copy, paths) if copy is not None]
    assert [copy.disk for copy in copies] == ["/i/vm.vda", "/i/vm.vdb"]
    assert is_complete(copies) and not is_complete(copies[:1]) and not is_complete([])


@pytest.mark.parametrize(
    "path",
    ["/i/vm.vda", "/i/vm.vda.snapshot.a.1-of-1.part", "/i/x.snapshot.a b.1-of-1", "/i/x.snapshot.a.0-of-1"],
)
def test_other_files_belong_to_no_snapshot(path: str) -> None:
    assert read_copy(path) is None


@pytest.mark.parametrize("name", ["", "a/b", "..", "-a", "a.b", "a\n", "x" * 33])
def test_a_name_is_a_part_of_a_files_name(name: str) -> None:
    with pytest.raises(UserError, match="cannot name a snapshot"):
        check_snapshot_name(name)
    assert check_snapshot_name("before-upgrade_2") == "before-upgrade_2"
