"""The form that an image comes in: the place of the image in it, and other forms are refused."""

from pathlib import Path

import pytest

from nucleus.api.problems import Problem
from owners.images.upload_bytes import form_of

FIELD = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a.iso"\r\n\r\n%s\r\n'
END = b"--x--\r\n"


def read(folder: Path, body: bytes, kind: str = "multipart/form-data; boundary=x") -> tuple[str, str, bytes]:
    """File name, project and image of a form."""
    (folder / "body").write_bytes(body)
    form = form_of(folder / "body", kind)
    return form.filename, form.project, body[form.begin : form.end]


@pytest.mark.parametrize(
    "image", [b"", bytes(range(256)) * 3 + b"\r\n--y", b"\r\n--x" + bytes(200_000), b"\r\n"]
)
def test_the_image_is_found_behind_the_fields(tmp_path: Path, image: bytes) -> None:
    form = FIELD % (b"note", b"") + FIELD % (b"project", "ä".encode()) + FILE % (b"file", image) + END
    assert read(tmp_path, form) == ("a.iso", "ä", image)
    assert read(tmp_path, FILE % (b"file", image) + END) == ("a.iso", "", image)


def test_what_follows_the_image_is_refused_with_the_order(tmp_path: Path) -> None:
    for more in (FIELD % (b"project", b"alpha"), FILE % (b"file", b"2")):
        with pytest.raises(Problem, match="before the part `file`") as refused:
            read(tmp_path, FILE % (b"file", b"1") + more + END)
        assert refused.value.code == "invalid-request"


@pytest.mark.parametrize(
    "body",
    [
        FILE % (b"other", b"1") + END,
        FIELD % (b"project", b"p" * 70_000) + FILE % (b"file", b"1") + END,
        FIELD % (b"project", b"1") + END,
        FILE % (b"file", b"1"),
        b'--x\r\nContent-Disposition: form-data; name="file"',
        b"--x\r\n\r\n1\r\n--x--\r\n",
        b"no form",
        b"",
    ],
)
def test_other_forms_are_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        read(tmp_path, body)
    assert refused.value.code == "invalid-request"


def test_a_form_without_a_boundary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem) as refused:
        read(tmp_path, END, "multipart/form-data")
    assert refused.value.code == "wrong-media-type"
