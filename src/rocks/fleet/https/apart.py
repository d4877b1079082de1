"""Two processes of a service: one without rights reads what clients send, and one with rights answers.

TLS, HTTP and its bounds are in a child, as another user, which has the listening sockets, the certificate's key and a
channel, and no other descriptor. For each request it hands over the connection, of which the kernel, not the child,
says whose it is, and a socket for the question and the answer. So who takes over the child sees and answers what
clients send, and has no file, database or host of root's; it asks in the name of a client only while that is connected.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from rocks.core.errors import HostError, RocksError
from rocks.fleet.https.messages import RETRY_AFTER_SECONDS, Answer, FilePart, Request
from rocks.fleet.relay import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.fleet.https.server import HttpsServer

USERS = ("rocks-web", "nobody")
"""The package's user; without it, as in a checkout, the one of nobody."""

_ASKS_PAIR = 0x80
_LENGTH = struct.Struct("!I")
_LARGEST_FRAME = 1 << 20
_QUESTION_SECONDS = 30.0
_STALLED_SECONDS = 300.0
_OPEN_ANSWERS = 512


def serve(servers: Sequence[HttpsServer]) -> None:
    """Serve until the process is interrupted; HostError when the child ends before. Only root has a child."""
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        for server in servers:
            stack.enter_context(server)
        if os.geteuid() != 0:
            _serve_all(servers)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(near)
        child = os.fork()
        if child == 0:
            _read_clients(servers, far)
        stack.callback(_end, child)
        far.close()
        _answer_all(servers, near)


def _serve_all(servers: Sequence[HttpsServer]) -> NoReturn:
    first, *others = servers
    for other in others:
        threading.Thread(target=other.serve_forever, daemon=True).start()
    first.serve_forever()
    raise HostError("the service has ended")


def _end(child: int) -> None:
    """The channel is still open: the child is ended by its signal, and waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


# the child


def _read_clients(servers: Sequence[HttpsServer], channel: socket.socket) -> NoReturn:
    """Serve without rights; never returns, and ends with the other process."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _keep_only({0, 1, 2, channel.fileno(), *(server.fileno() for server in servers)})
        _drop_rights()
        for number, server in enumerate(servers):
            server.answer = _Asking(server, channel, number).answer
            server.renewed = _renewing(channel, number) if server.renewed else None
        threading.Thread(target=_end_with, args=[channel], daemon=True).start()
        _serve_all(servers)
    except KeyboardInterrupt:
        status = 0
    except BaseException as error:
        servers[0].log(f"the process that reads requests has ended: {error}")
    finally:
        os._exit(status)


def _keep_only(stay: set[int]) -> None:
    """Replace other descriptors, such as the database's, by ones of /dev/null: their owners may still close them."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers
        number = int(name)
        if number not in stay and number != nothing:
            with contextlib.suppress(OSError):
                os.fstat(number)  # not that of the listing itself, which is closed
                os.dup2(nothing, number, inheritable=False)


def _drop_rights() -> None:
    users = {user.pw_name: user for user in pwd.getpwall()}
    user = next(users[name] for name in USERS if name in users)
    os.setgroups([])
    os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
    os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    os.chdir("/")


def _end_with(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        channel.recv(1)
    os._exit(0)


class _Asking:
    """Asks the process with rights about one request, in the thread of its connection."""

    def __init__(self, server: HttpsServer, channel: socket.socket, number: int) -> None:
        self._server, self._channel, self._number = server, channel, number

    def answer(self, request: Request) -> Answer:
        """Its answer; 503 when it makes none."""
        connection = self._server.connection_of_thread()
        with contextlib.ExitStack() as stack:
            near, far = socket.socketpair()
            stack.enter_context(near)
            try:
                with far:
                    sent = [far.fileno(), connection.fileno()]
                    socket.send_fds(self._channel, [bytes([self._number])], sent)
                question = {
                    "path": request.path,
                    "headers": request.headers,
                    "method": request.method,
                    "body": request.body.decode("latin-1"),
                }
                _send_frame(near, json.dumps(question).encode())
                head, descriptors = _received_head(near)
                body = _exactly(near, head["length"])
            except (OSError, EOFError):
                text = b"the service cannot answer now; ask again later\n"
                return Answer(503, "text/plain", text, {"Retry-After": str(RETRY_AFTER_SECONDS)})
            file = FilePart(descriptors[0], *head["file"]) if head["file"] else None
            stream = _Carrying(near) if head["stream"] else None
            if stream:
                stack.pop_all()  # it closes the socket
            return Answer(head["status"], head["type"], body, head["headers"], file, head["reason"], stream)


class _Carrying:
    """What goes on over a connection after an answer 101: carried to the process with rights."""

    def __init__(self, far: socket.socket) -> None:
        self._far = far

    def run(self, connection: socket.socket) -> None:
        """Carry bytes both ways until one end closes."""
        relay(connection, self._far.fileno(), lambda: True, _STALLED_SECONDS, _STALLED_SECONDS)

    def close(self) -> None:
        self._far.close()


def _renewing(channel: socket.socket, number: int) -> Callable[[], bytes]:
    def renewed() -> bytes:
        near, far = socket.socketpair()
        with near:
            near.settimeout(_QUESTION_SECONDS)
            with far:
                socket.send_fds(channel, [bytes([_ASKS_PAIR | number])], [far.fileno()])
            try:
                found = json.loads(_exactly(near, _length(near)))
            except EOFError:
                raise HostError("it could not be asked for") from None
        if "error" in found:
            raise HostError(found["error"])
        return str(found["pair"]).encode()

    return renewed


# the process with rights


def _answer_all(servers: Sequence[HttpsServer], channel: socket.socket) -> NoReturn:
    """A thread for each question, as many at once as there are places; another one ends without an answer."""
    places = threading.BoundedSemaphore(_OPEN_ANSWERS)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 16, 2)
        if not message:
            raise HostError("the process that reads requests has ended")
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        if message[0] & ~_ASKS_PAIR < len(servers) and places.acquire(blocking=False):
            question = (servers[message[0] & ~_ASKS_PAIR], bool(message[0] & _ASKS_PAIR), sockets, places)
            threading.Thread(target=_answer, args=question, daemon=True).start()
        else:
            for one in sockets:
                one.close()


def _answer(
    server: HttpsServer, is_renewal: bool, sockets: list[socket.socket], places: threading.BoundedSemaphore
) -> None:
    try:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError, EOFError, ValueError):
            asking, *connections = [stack.enter_context(one) for one in sockets]
            asking.settimeout(_QUESTION_SECONDS)
            if is_renewal:
                _send_pair(server, asking)
            elif len(connections) == 1:
                _answer_request(server, asking, connections[0])
    finally:
        places.release()


def _send_pair(server: HttpsServer, asking: socket.socket) -> None:
    try:
        found = {"pair": server.renewed().decode() if server.renewed else ""}
    except (RocksError, OSError) as error:
        found = {"error": str(error)}
    _send_frame(asking, json.dumps(found).encode())


def _answer_request(server: HttpsServer, asking: socket.socket, connection: socket.socket) -> None:
    request = _request(server, connection, _exactly(asking, _length(asking, server.bounds.question_bytes)))
    connection.close()  # this process must not keep it open
    asking.settimeout(None)
    try:
        answer = server.answer(request)
    except Exception as error:  # a fault of ours must not look like a file to the client
        server.log(f"{request.address}: fault {type(error).__name__}: {error}")
        answer = Answer(500, "text/plain", b"a fault of the service; see its log on the frontend\n")
    try:
        _send_answer(asking, answer)
        if answer.stream:
            answer.stream.run(asking)
    finally:
        if answer.file:
            os.close(answer.file.descriptor)
        if answer.stream:
            answer.stream.close()


def _request(server: HttpsServer, connection: socket.socket, question: bytes) -> Request:
    """The request; whose it is says the kernel. ValueError, OSError for a connection that is not of this server."""
    address, port = connection.getpeername()[:2]
    if connection.family != socket.AF_INET or connection.getsockname()[1] != server.server_address[1]:
        raise ValueError("another connection")
    read: Any = json.loads(question)
    headers = [(str(name), str(value)) for name, value in read["headers"]]
    body = str(read["body"]).encode("latin-1")
    return Request(str(address), str(read["path"]), headers, int(port), str(read["method"]), body)


def _send_answer(asking: socket.socket, answer: Answer) -> None:
    head = {
        "status": answer.status,
        "type": answer.content_type,
        "headers": answer.headers,
        "reason": answer.reason,
        "length": len(answer.body),
        "file": answer.file and answer.file[1:],
        "stream": answer.stream is not None,
    }
    data = json.dumps(head).encode()
    descriptors = [answer.file.descriptor] if answer.file else []
    socket.send_fds(asking, [_LENGTH.pack(len(data))], descriptors)
    asking.sendall(data)
    asking.sendall(answer.body)


# both


def _send_frame(way: socket.socket, data: bytes) -> None:
    way.sendall(_LENGTH.pack(len(data)) + data)


def _received_head(way: socket.socket) -> tuple[Any, list[int]]:
    """The head of an answer, and the descriptors that came with its length. EOFError without an answer."""
    start, descriptors, _, _ = socket.recv_fds(way, _LENGTH.size, 1)
    if not start:
        raise EOFError
    start += _exactly(way, _LENGTH.size - len(start))
    return json.loads(_exactly(way, _LENGTH.unpack(start)[0])), list(descriptors)


def _length(way: socket.socket, most: int = _LARGEST_FRAME) -> int:
    """The length of the frame that follows. EOFError without one, or for a longer one."""
    (length,) = _LENGTH.unpack(_exactly(way, _LENGTH.size))
    if length > most:
        raise EOFError
    return int(length)


def _exactly(way: socket.socket, count: int) -> bytes:
    """So many bytes. EOFError when the other end is closed before."""
    data = bytearray()
    while len(data) < count:
        piece = way.recv(min(count - len(data), 1 << 20))
        if not piece:
            raise EOFError
        data += piece
    return bytes(data)
