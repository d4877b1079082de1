"""The form that an image comes in: its file is passed on as it comes, and other forms are refused."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import Request

from nucleus.api.problems import Problem
from owners.images.upload_bytes import ImageForm

FIELD = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FILE = b'--x\r\nContent-Disposition: form-data; name="%s"; filename="a.iso"\r\n\r\n%s\r\n'
END = b"--x--\r\n"


def read(
    body: bytes, step: int = 1 << 20, kind: str = "multipart/form-data; boundary=x"
) -> tuple[ImageForm, bytes]:
    """The form, which comes in pieces of `step` bytes, and its file."""
    taken = bytearray()

    async def stream() -> AsyncGenerator[bytes]:
        for begin in range(0, len(body), step):
            yield body[begin : begin + step]

    async def take(data: bytes) -> None:
        taken.extend(data)

    form = ImageForm(Request({"type": "http", "headers": [(b"content-type", kind.encode())]}), stream(), take)
    asyncio.run(form.read())
    return form, bytes(taken)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_the_file_comes_whole_with_the_fields_before_it(step: int) -> None:
    image = bytes(range(256)) * 3 + b"\r\n--y"
    form, taken = read(FIELD % (b"project", "ä".encode()) + FILE % (b"file", image) + END, step)
    assert (taken, form.filename, form.fields) == (image, "a.iso", {"project": "ä"})


def test_a_project_behind_the_file_is_refused_with_the_order() -> None:
    """What names the project decides whose image it is: it is known before the first byte is stored."""
    assert read(FILE % (b"file", b"1") + FIELD % (b"note", b"x") + END)[1] == b"1"
    with pytest.raises(Problem, match="send it before the part `file`") as refused:
        read(FILE % (b"file", b"1") + FIELD % (b"project", b"alpha") + END)
    assert refused.value.code == "invalid-request"


@pytest.mark.parametrize(
    "body",
    [
        FILE % (b"file", b"1") + FILE % (b"file", b"2") + END,
        FILE % (b"other", b"1") + END,
        FIELD % (b"project", b"p" * 5000) + END,
        FIELD % (b"p" * 5000, b"1") + END,
        FIELD % (b"project", b"1") * 16 + END,
        FILE % (b"file", b"1"),
        b"no form",
    ],
)
def test_other_forms_are_refused(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        read(body)
    assert refused.value.code == "invalid-request"


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", ""])
def test_a_body_that_is_no_form_is_refused(kind: str) -> None:
    with pytest.raises(Problem) as refused:
        read(END, kind=kind)
    assert refused.value.code == "wrong-media-type"
