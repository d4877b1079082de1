"""The libvirt documents of virtual machines, as their hosts adapt them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rocks.core.errors import RocksError
from rocks.fleet.wire.facts import DocumentsRequest
from rocks.inventory.host_requests import ask_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rocks.database.connection import Database
    from rocks.inventory.records import VirtualMachine


def adapt_documents(
    database: Database, machines: Sequence[VirtualMachine], documents: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, RocksError]]:
    """Name → document as libvirt on the machine's host would get it; and errors by host.

    A document whose host does not answer, or which has none, is that of `documents`, as the database has it.
    """
    adapted = dict(documents)
    failed: dict[str, RocksError] = {}
    names: dict[str, list[str]] = {}
    for vm in machines:
        if vm.container is not None:
            names.setdefault(vm.container.name, []).append(vm.name)
    requests = {
        host: DocumentsRequest(tuple(documents[name] for name in of_host)) for host, of_host in names.items()
    }
    database.commit()
    for host, answer in ask_each(database, requests) if requests else ():
        if isinstance(answer, RocksError):
            failed[host] = answer
        else:
            adapted.update(zip(names[host], answer.documents, strict=True))
    return adapted, failed
