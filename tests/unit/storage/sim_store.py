"""What a host of the simulated world works with: the requests that reach it, and its records in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rocks.fleet.wire.codec import encode
from rocks.storage.life.requests import HostRequest
from rocks.storage.store.host import CopyRecord, RequestRecord
from rocks.storage.wire.messages import HOST_REQUEST, write_message

ZVOL = "vm-vol"
IMAGE_ID = "1"
NAS = "nas-0-0"


class BrokenRuleError(BaseException):
    """An assertion of the simulated devices. The engine must not take it for a failure."""


@dataclass(frozen=True)
class Ask:
    """A request as it travels."""

    host: str
    epoch: int
    sequence: int
    request: HostRequest

    @property
    def work_id(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    def body(self) -> bytes:
        fields = {
            "request": encode(self.request),
            "nas": NAS,
            "volume": f"tank/{ZVOL}",
            "address": "10.2.0.1",
            "portal_port": 3260,
            "stream_port": 7780,
        }
        return write_message(
            HOST_REQUEST, fields, op_id=f"{IMAGE_ID}.{self.work_id}", image_id=IMAGE_ID, epoch=self.epoch
        )


class MemoryStore:
    """The records of a host daemon, as `store.host.HostStore` has them, and what it sends."""

    def __init__(self) -> None:
        self._copies: dict[str, CopyRecord] = {}
        self._requests: dict[str, RequestRecord] = {}
        self.sent: list[bytes] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A simulated crash comes between two steps of the engine only."""
        yield

    def copies(self) -> list[CopyRecord]:
        return list(self._copies.values())

    def copy(self, zvol: str) -> CopyRecord | None:
        return self._copies.get(zvol)

    def keep(self, copy: CopyRecord) -> None:
        self._copies[copy.known.zvol] = copy

    def request(self, op_id: str) -> RequestRecord | None:
        return self._requests.get(op_id)

    def open_requests(self) -> list[RequestRecord]:
        return [request for request in self._requests.values() if request.answer is None]

    def begin(self, request: RequestRecord) -> bool:
        self._requests[request.op_id] = request
        return True

    def answer(self, op_id: str, destination: str, body: bytes) -> None:
        self._requests[op_id] = self._requests[op_id]._replace(answer=body, body=b"")
        self.send_answer(op_id, destination, body)

    def send_answer(self, op_id: str, destination: str, body: bytes) -> None:
        self.sent.append(body)
