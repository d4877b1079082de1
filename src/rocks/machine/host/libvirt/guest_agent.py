"""The guest agent of a domain freezes and thaws file systems."""

from __future__ import annotations

from typing import Any, Optional

import libvirt  # noqa: TID251 - of this folder

from rocks.core.errors import StateError
from rocks.machine.host.libvirt.driver import NothingFrozenError
from rocks.machine.host.libvirt.errors import message_of

AGENT_SECONDS = 20
"""How long a guest agent may take to freeze or thaw its file systems: it writes all their data first."""

_AGENT_ANSWERED = "unable to execute QEMU agent command"
"""In libvirt's internal errors that pass on an error which the guest agent has answered: no code of their own."""


def freeze(domain: Any) -> Optional[str]:
    """As `DomainDriver.freeze`."""
    try:
        # without it libvirt 9.0 waits for the answer of a hung agent without end
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        count = domain.fsFreeze()
    except libvirt.libvirtError as error:
        if _is_refusal(error):
            kind = NothingFrozenError if _froze_nothing(error) else StateError
            raise kind(message_of(error)) from None
        return message_of(error)
    return None if count else "the guest agent has found no file system that can be frozen"


def thaw(domain: Any) -> Optional[int]:
    """As `DomainDriver.thaw`."""
    try:
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        return int(domain.fsThaw())
    except libvirt.libvirtError:
        return None


def _is_refusal(error: libvirt.libvirtError) -> bool:
    """Whether the guest agent was not asked (the guest is paused), or has answered with an error."""
    code = error.get_error_code()
    return code == libvirt.VIR_ERR_OPERATION_INVALID or (
        code == libvirt.VIR_ERR_INTERNAL_ERROR and _AGENT_ANSWERED in message_of(error)
    )


def _froze_nothing(error: libvirt.libvirtError) -> bool:
    """Whether the guest agent was not asked, or has answered that it does not have the command (qemu-ga's texts).

    One whose file systems are frozen already calls the command disabled, too.
    """
    lacks_command = ("has been disabled", "has not been found", "not currently supported")
    if "frozen state" in message_of(error):
        return False
    return error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID or any(
        text in message_of(error) for text in lacks_command
    )
