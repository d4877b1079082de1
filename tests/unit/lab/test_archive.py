"""The initramfs archive, read back as the kernel reads it."""

import stat

from hypothesis import given
from hypothesis import strategies as st

from lab.guest import archive
from lab.guest.archive import Entry

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
