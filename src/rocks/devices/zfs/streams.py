"""Streams between pools: which may begin. The bytes themselves are the tool's."""

from __future__ import annotations

from typing import Optional

from rocks.devices.change import UNCHANGED, Change
from rocks.devices.zfs.driver import Transfer
from rocks.devices.zfs.facts import ReceiveSpec, SendSpec, TokenFact
from rocks.devices.zfs.names import check_part, check_snapshot, check_token, check_volume
from rocks.devices.zfs.reading import PoolReading
from rocks.devices.zfs.rules import check_receive, check_resumed_send, check_send, refuse_other_guid
from rocks.devices.zfs.volumes import settle
from rocks.errors import StateError


class StreamOperations(PoolReading):
    """The part of `PoolDriver` about streams, over the verbs."""

    def decode_token(self, token: str) -> TokenFact:
        """As `PoolDriver.decode_token`."""
        check_token(token)
        return self._verbs.decode_token(token)

    def estimate_send(self, wanted: SendSpec) -> int:
        """As `PoolDriver.estimate_send`."""
        self._check_send(wanted)
        return self._verbs.estimate(wanted)

    def start_send(self, wanted: SendSpec) -> Transfer:
        """As `PoolDriver.start_send`."""
        self._check_send(wanted)
        return self._verbs.send(wanted)

    def start_receive(self, wanted: ReceiveSpec) -> Transfer:
        """As `PoolDriver.start_receive`."""
        check_volume(wanted.volume)
        if wanted.origin is not None:
            check_snapshot(wanted.origin)
            found = self._verbs.read_guid(wanted.origin)
            if found is None:
                raise StateError(
                    f"there is no snapshot {wanted.origin} of which {wanted.volume} could be a clone"
                )
            refuse_other_guid(wanted.origin, found, wanted.base_guid or "")
        self._verbs.flush(wanted.volume)
        fact = self._verbs.read_volume(wanted.volume)
        history = self._verbs.read_history(wanted.volume)
        check_receive(wanted, fact and self._exactly_written(fact, history), history)
        return self._verbs.receive(wanted)

    def ensure_partial_gone(self, volume: str) -> Change:
        """As `PoolDriver.ensure_partial_gone`."""
        check_volume(volume)

        def is_so() -> bool:
            fact = self._verbs.read_volume(volume)
            return fact is None or fact.resume_token is None

        return UNCHANGED if is_so() else settle(lambda: self._verbs.abort_receive(volume), is_so)

    def _check_send(self, wanted: SendSpec) -> None:
        check_volume(wanted.volume)
        check_part(wanted.to_name)
        origin_guid = self._origin_guid(wanted.from_snapshot)
        history = self._verbs.read_history(wanted.volume)
        if wanted.resume_token is None:
            check_send(wanted, history, origin_guid)
        else:
            check_resumed_send(wanted, self.decode_token(wanted.resume_token), history, origin_guid)

    def _origin_guid(self, start: Optional[str]) -> Optional[str]:
        """The guid of a start that is a snapshot of another volume."""
        if start is None or "@" not in start:
            return None
        check_snapshot(start)
        return self._verbs.read_guid(start)
