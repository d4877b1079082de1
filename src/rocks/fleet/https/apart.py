"""Two processes of a service: one without rights reads what clients send, and one with rights answers.

The process with rights has the listening sockets, accepts connections, and reads nothing from them. It passes each one
to a child, another user's, with a socket for its one question; the child has TLS, HTTP and its bounds. The socket on
which a question comes says which connection it is about, and the kernel whose that is. So who takes over the child sees
and answers what clients send, and has no file or host of root's; it asks in the name of a client only while that is
connected, once for each connection. The child is a fork, so its memory has what the service had read before: the
certificate's key, and the password of the database where the site uses one.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import selectors
import signal
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from rocks.core.errors import HostError, RocksError
from rocks.fleet.https.server import RETRY_AFTER_SECONDS, Answer, FilePart, Request
from rocks.fleet.relay import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rocks.fleet.https.server import HttpsServer

USERS = ("rocks-web", "nobody")
"""The package's user; without it, as in a checkout, the one of nobody."""

_LENGTH = struct.Struct("!I")
_LARGEST_PAIR = 1 << 17
_QUESTION_SECONDS = 30.0
_STALLED_SECONDS = 300.0
_OPEN_ANSWERS = 512
_ON_THE_WAY = 512
"""So many connections beyond the bounds may be on their way to the child, which closes them."""


def serve(servers: Sequence[HttpsServer]) -> None:
    """Serve until the process is interrupted; HostError when the child ends before. Only root has a child."""
    with contextlib.ExitStack() as stack, contextlib.suppress(KeyboardInterrupt):
        for server in servers:
            stack.enter_context(server)
        if os.geteuid() != 0:
            _serve_all(servers)
        ways = [_pair(stack) for _ in servers]
        renewals = [_pair(stack) for _ in servers]
        child = os.fork()
        if child == 0:
            _read_clients(servers, [far for _, far in ways], [far for _, far in renewals])
        stack.callback(_end, child)
        for _, far in ways + renewals:
            far.close()
        for server, (near, _) in zip(servers, renewals, strict=True):
            threading.Thread(target=_send_pairs, args=[server, near], daemon=True).start()
        _answer_all(servers, [near for near, _ in ways])


def _pair(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return stack.enter_context(near), stack.enter_context(far)


def _serve_all(servers: Sequence[HttpsServer]) -> NoReturn:
    first, *others = servers
    for other in others:
        threading.Thread(target=other.serve_forever, daemon=True).start()
    first.serve_forever()
    raise HostError("the service has ended")


def _end(child: int) -> None:
    """Its sockets are still open: the child is ended by its signal, and waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


# the child


def _read_clients(
    servers: Sequence[HttpsServer], ways: Sequence[socket.socket], renewals: Sequence[socket.socket]
) -> NoReturn:
    """Serve without rights; never returns, and ends with the other process."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _keep_only({0, 1, 2, *(way.fileno() for way in (*ways, *renewals))})
        _drop_rights()
        for server, way, renewal in zip(servers, ways, renewals, strict=True):
            server.socket = _Arrivals(fileno=way.detach())
            server.answer = _Asking(server).answer
            server.renewed = _renewing(renewal) if server.renewed else None
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


class _Accepted(socket.socket):
    """A connection, with the socket for its question, which is closed with it."""

    asking: socket.socket

    def close(self) -> None:
        """Close both, so that the process with rights closes the connection, too."""
        super().close()
        self.asking.close()


class _Arrivals(socket.socket):
    """Takes the place of a listening socket: the connections come from the process with rights."""

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """The next connection. The process ends when the one with rights has ended."""
        message, descriptors, _, _ = socket.recv_fds(self, 64, 2)
        if not message:
            os._exit(0)
        if len(descriptors) != 2:  # there are too many open files
            for descriptor in descriptors:
                os.close(descriptor)
            raise ConnectionAbortedError
        connection = _Accepted(fileno=descriptors[0])
        connection.asking = socket.socket(fileno=descriptors[1])
        address, port = message.decode().split()
        return connection, (address, int(port))


class _Asking:
    """Asks the process with rights about one request, in the thread of its connection."""

    def __init__(self, server: HttpsServer) -> None:
        self._server = server

    def answer(self, request: Request) -> Answer:
        """Its answer; 503 when it makes none."""
        connection = self._server.connection_of_thread()
        assert isinstance(connection, _Accepted)
        asking = connection.asking
        question = {
            "path": request.path,
            "headers": request.headers,
            "method": request.method,
            "body": request.body.decode("latin-1"),
        }
        try:
            _send_frame(asking, json.dumps(question).encode())
            head, descriptors = _received_head(asking)
            body = _exactly(asking, head["length"])
        except (OSError, EOFError):
            text = b"the service cannot answer now; ask again later\n"
            return Answer(503, "text/plain", text, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        file = FilePart(descriptors[0], *head["file"]) if head["file"] else None
        stream = _Carrying(asking) if head["stream"] else None
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


def _renewing(way: socket.socket) -> Callable[[], bytes]:
    way.settimeout(_QUESTION_SECONDS)

    def renewed() -> bytes:
        way.send(b"?")
        message = way.recv(_LARGEST_PAIR)
        if not message:
            raise HostError("it could not be asked for")
        found = json.loads(message)
        if "error" in found:
            raise HostError(found["error"])
        return str(found["pair"]).encode()

    return renewed


# the process with rights


class _Connection(NamedTuple):
    """A connection that was accepted, its client, and the socket on which the child may ask about it."""

    server: HttpsServer
    accepted: socket.socket
    peer: tuple[str, int]
    asking: socket.socket

    def close(self) -> None:
        self.accepted.close()
        self.asking.close()


def _answer_all(servers: Sequence[HttpsServer], ways: Sequence[socket.socket]) -> NoReturn:
    """Accept connections, and answer in a thread each, as many at once as there are places, what is asked about them.

    A connection is closed when the child has closed it, or without a place. Nothing takes a descriptor of the child's.
    """
    places = threading.BoundedSemaphore(_OPEN_ANSWERS)
    most = sum(server.bounds.connections for server in servers) + _ON_THE_WAY
    with selectors.DefaultSelector() as selector:
        for server, way in zip(servers, ways, strict=True):
            server.socket.setblocking(False)
            selector.register(server.socket, selectors.EVENT_READ, (server, way))
            selector.register(way, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if key.data is None:
                    if not _received(key.fileobj, 0):
                        raise HostError("the process that reads requests has ended")
                elif isinstance(key.data, _Connection):
                    selector.unregister(key.fileobj)
                    if _received(key.fileobj, socket.MSG_PEEK) and places.acquire(blocking=False):
                        threading.Thread(target=_answer, args=(key.data, places), daemon=True).start()
                    else:
                        key.data.close()
                else:
                    with contextlib.suppress(OSError):  # the client has gone
                        server, way = key.data
                        one = _accept(server, way, len(selector.get_map()) >= most)
                        selector.register(one.asking, selectors.EVENT_READ, one)


def _received(way: socket.socket, flags: int) -> bytes:
    with contextlib.suppress(OSError):
        return way.recv(1, flags)
    return b""


def _accept(server: HttpsServer, way: socket.socket, is_full: bool) -> _Connection:
    """The next connection, which the child gets, too. OSError when it does not."""
    with contextlib.ExitStack() as stack:
        accepted, peer = server.socket.accept()
        stack.enter_context(accepted)
        if is_full:
            raise ConnectionAbortedError
        near, far = socket.socketpair()
        stack.enter_context(near)
        with far:
            message = f"{peer[0]} {peer[1]}".encode()
            socket.send_fds(way, [message], [accepted.fileno(), far.fileno()])
        stack.pop_all()
    return _Connection(server, accepted, peer, near)


def _answer(one: _Connection, places: threading.BoundedSemaphore) -> None:
    try:
        with contextlib.closing(one), contextlib.suppress(OSError, EOFError, ValueError):
            one.asking.settimeout(_QUESTION_SECONDS)
            question = _exactly(one.asking, _length(one.asking, one.server.bounds.question_bytes))
            _answer_request(one, _request(one, question))
    finally:
        places.release()


def _send_pairs(server: HttpsServer, way: socket.socket) -> None:
    """The present certificate and key, as often as the child asks."""
    with contextlib.suppress(OSError):
        while way.recv(1):
            try:
                found = {"pair": server.renewed().decode() if server.renewed else ""}
            except (RocksError, OSError) as error:
                found = {"error": str(error)}
            way.send(json.dumps(found).encode())


def _answer_request(one: _Connection, request: Request) -> None:
    server, asking = one.server, one.asking
    one.accepted.close()  # this process must not keep it open
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


def _request(one: _Connection, question: bytes) -> Request:
    """The request of the client. ValueError, OSError when it is connected no more: the child can connect elsewhere."""
    if one.accepted.getpeername() != one.peer:
        raise ValueError("another connection")
    read: Any = json.loads(question)
    headers = [(str(name), str(value)) for name, value in read["headers"]]
    body = str(read["body"]).encode("latin-1")
    return Request(one.peer[0], str(read["path"]), headers, one.peer[1], str(read["method"]), body)


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


def _length(way: socket.socket, most: int) -> int:
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
