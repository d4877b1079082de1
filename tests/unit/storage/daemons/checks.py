"""Checks of requests by a NAS, which change nothing."""

from typing import Any

from rocks.core.errors import RocksError
from rocks.storage.wire.messages import write_request
from rocks.storage.wire.requests import CheckRequest
from tests.unit.storage.daemons.driven_site import DrivenSite


def check(site: DrivenSite, request: Any) -> str:
    """The error, empty without one."""
    before = site.nas.moments.count, site.nas.service._engine.images()
    message = ""
    try:
        site.nas.service._commands._check(CheckRequest(write_request(request).decode()))
    except RocksError as error:
        message = str(error)
    assert (site.nas.moments.count, site.nas.service._engine.images()) == before
    return message
