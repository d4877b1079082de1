"""What is read in the document of an owner's request."""

import json

import pytest

from rocks.site.airboss.wire import OwnerRequest, read_document

DOCUMENT: dict[str, object] = {
    "service": "head",
    "cluster": "one",
    "time": 1000,
    "nonce": "0" * 32,
    "operation": "cdrom",
    "hosts": ["vm-one-0"],
    "action": "",
    "status": False,
}


def read(**fields: object) -> OwnerRequest:
    return read_document(json.dumps({**DOCUMENT, **fields}).encode())


def test_a_request_for_a_drive() -> None:
    """Without an image it ejects; requests of other operations have neither field."""
    assert (read().image, read().boot) == ("", "")
    found = read(image="rescue", boot="last")
    assert (found.image, found.boot, found.hosts) == ("rescue", "last", ("vm-one-0",))
    assert read(operation="list macs", hosts=[]).operation == "list macs"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hosts": []}, "request.hosts"),
        ({"hosts": ["vm-one-0", "vm-one-1"]}, "request.hosts"),
        ({"boot": "now"}, "request.boot"),
        ({"image": "x" * 300}, "a name has more"),
        ({"image": ["rescue"]}, "request.image"),
        ({"image": None}, "request.image"),
        ({"image": "rescue", "action": "on"}, "request.action"),
        ({"operation": "list macs", "image": "rescue"}, "only of the operation cdrom"),
        ({"operation": "power", "action": "on", "boot": "last"}, "only of the operation cdrom"),
        ({"images": "rescue"}, "unknown"),
    ],
)
def test_requests_for_drives_that_are_not_valid(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(**fields)


@pytest.mark.parametrize("document", [b"[]", b"null", b'"cdrom"', b"1"])
def test_what_is_no_object(document: bytes) -> None:
    with pytest.raises(ValueError, match="request"):
        read_document(document)
