"""The first domains of a libvirtd: its race was seen once, on a loaded host with two starts, and cannot be made."""

from typing import Any

import pytest

from rocks.core.errors import ToolError

RACE = (
    "internal error: Unable to parse RNG /usr/share/libvirt/schemas/domain.rng: Error type 'unsignedInt' is not "
    "exported by type library 'http://www.w3.org/2001/XMLSchema-datatypes'"
)


class Connection:
    """A connection to libvirt that answers each definition with the next of these errors, and then with none."""

    def __init__(self, *errors: str) -> None:
        self.errors = list(errors)
        self.defined: list[str] = []

    def defineXMLFlags(self, xml: str, flags: int) -> None:  # noqa: N802 - libvirt's name
        """As libvirt's."""
        from rocks.machine.host.libvirt.domains import libvirt

        if self.errors:
            error = libvirt.libvirtError("")
            error.err = (1, 10, self.errors.pop(0), 2, "", "", "", -1, -1)
            raise error
        self.defined.append(xml)


def domains_of(connection: Connection) -> Any:
    """A driver of that connection."""
    pytest.importorskip("libvirt", reason="the distribution's libvirt bindings are not installed")
    from rocks.machine.host.libvirt.domains import Domains

    domains = Domains.__new__(Domains)
    domains._connection = connection
    return domains


def test_a_schema_that_another_thread_is_still_loading_is_read_again() -> None:
    connection = Connection(RACE, RACE)
    domains_of(connection).define("<domain/>")
    assert connection.defined == ["<domain/>"]


def test_other_errors_of_a_definition_are_reported() -> None:
    connection = Connection("XML error: no name", RACE)
    with pytest.raises(ToolError, match="XML error: no name"):
        domains_of(connection).define("<domain/>")
    assert connection.errors == [RACE]
