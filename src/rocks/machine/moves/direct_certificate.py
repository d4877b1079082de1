"""The certificate with which the hosts of a live migration reach each other past the frontend (decision 171)."""

from __future__ import annotations

import ipaddress

from rocks.core.clock import utc_now
from rocks.fleet.settings import HostAddress
from rocks.fleet.wire.live_moves import DirectWay


def direct_way(new: HostAddress) -> DirectWay | None:
    """The way to the new host, with a certificate for this move alone; None when its address is not recorded.

    What has signed it is forgotten here. So nothing else has a valid one.
    """
    from rocks.trust.x509 import CertificateSpec, create_authority, sign  # it loads cryptography

    try:
        ipaddress.IPv4Address(new.address)
    except ValueError:
        return None
    now = utc_now()
    authority = create_authority("move", now, days=1)
    pair = sign(authority, CertificateSpec("move", [new.name], [], days=1), now)
    return DirectWay(
        new.name, new.address, (pair.key + pair.certificate).decode(), authority.certificate.decode()
    )
