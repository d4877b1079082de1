"""A small Nucleus for tests of `comet`: an HTTP server on the loopback device with documents of the interface's shapes.

It keeps a site in memory and does at once what it is asked; `answers` replaces the answer to a path, for hostile ones.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "nuc_annstokn_" + "s" * 43
PASSWORD = "ann's password"
Json = dict[str, Any]
_MOST_BYTES = 32 << 20


def node(name: str, number: int, kind: str = "compute") -> Json:
    """A node that is off, with a private MAC, and for a frontend a public one."""
    found: Json = {
        "name": name,
        "state": "nostate",
        "power": "off",
        "memory": 2048,
        "cpus": 2,
        "disksize": 36,
        "type": "VM",
        "interface": [{"mac": f"76:77:6e:80:00:{number:02x}", "iface": "eth0"}],
        "image_state": "unmapped",
        "admin_disabled": False,
        "iso": None,
        "iso_active": None,
        "observed_at": "2026-11-22T10:00:00.000Z",
        "stale": False,
        f"{kind}_state": "ready",
    }
    if kind == "compute":
        return {**found, "cluster": "vc2", "active_computeset": None, "active_computeset_state": None}
    found["interface"].append({"mac": "76:77:6e:90:00:01", "iface": "eth1"})
    found |= {"pub_ip": "203.0.113.9", "pub_mac": "76:77:6e:90:00:01", "pub_netmask": "255.255.255.0"}
    return {**found, "gateway": "203.0.113.1", "dns1": "192.0.2.1", "dns2": "192.0.2.2", "ntp": "192.0.2.3"}


def cluster(name: str = "vc2", count: int = 4) -> Json:
    """A cluster of VMs that are off, of project alpha with allocation alp1."""
    return {
        "name": name,
        "description": "Ann's",
        "project": "alpha",
        "vlan": 7,
        "allocations": ["alp1"],
        "frontend": node(name, 1, "frontend"),
        "computes": [{**node(f"vm-{name}-{index}", index + 2), "cluster": name} for index in range(count)],
        "generation": 1,
        "observed_at": "2026-11-22T10:00:00.000Z",
        "stale": False,
    }


class NucleusServer:
    """A server for one test. `requests` has (method, path with query, headers, body) of every request."""

    def __init__(self) -> None:
        self.clusters = [cluster()]
        self.sets: dict[int, Json] = {}
        self.images: list[str] = ["public/debian.iso"]
        self.tokens: dict[str, Json] = {}
        self.operations: dict[str, Json] = {}
        self.replayed: dict[str, tuple[int, Any, dict[str, str]]] = {}
        self.requests: list[tuple[str, str, Any, bytes]] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.polls_until_done = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/nucleus"
        # its end is waited for in each test: half a second by default
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def operation(self, kind: str, error: str = "", **target: Any) -> Json:
        """A new operation; done, unless `polls_until_done` says after how many questions it will be."""
        found: Json = {"cluster": None, "node": None, "computeset": None, **target}
        found |= {"kind": kind, "actor": "ann"}
        found |= {"id": f"01OPERATION{len(self.operations):015d}", "progress": [], "result": None}
        found |= {"created": "2026-11-22T10:00:00.000Z", "started": None, "ended": None}
        found["error"] = {"code": "backend-unavailable", "detail": error} if error else None
        found["state"] = "failed" if error else "running" if self.polls_until_done else "succeeded"
        self.operations[found["id"]] = found
        return found

    # routes: each gives (status, document, headers)

    def route(self, method: str, segments: list[str], query: dict[str, list[str]], body: Any) -> Any:
        match (method, *segments):
            case ("GET", "cluster"):
                return 200, self.clusters, {}
            case (_, "cluster", name, *rest):
                found = next((it for it in self.clusters if it["name"] == name), None)
                if found is None:
                    return problem("unknown-cluster", 404, f"there is no cluster {name}")
                return self.in_cluster(method, found, rest, query, body)
            case ("GET", "computeset"):
                expected = query.get("state")
                return 200, [it for it in self.sets.values() if not expected or it["state"] in expected], {}
            case ("POST", "computeset", "estimate"):
                return self.estimate(body)
            case ("POST", "computeset"):
                return self.start(body)
            case (_, "computeset", number, *rest):
                return self.in_set(int(number), rest, body)
            case ("GET", "operation"):
                return 200, list(self.operations.values()), {}
            case ("GET", "operation", identifier):
                return self.poll(identifier)
            case ("POST", "image"):
                return self.add_image(query["name"][0], query.get("project", ["alpha"])[0], body)
            case ("DELETE", "image", *parts):
                return self.delete_image("/".join(parts))
            case ("GET", "image"):
                return 200, sorted(self.images), {}
            case ("GET", "user"):
                found = {"username": "ann", "email": "", "first_name": "", "last_name": ""}
                return 200, {**found, "projects": ["alpha"]}, {}
            case ("GET", "token"):
                return 200, list(self.tokens.values()), {}
            case ("POST", "token"):
                found = {"id": f"tok{len(self.tokens):05d}", "created": None, **body}
                self.tokens[found["id"]] = found
                found["expires"] = "2026-11-23T10:00:00.000Z"
                limited = "credentials" if body.get("days", 90) <= 365 else "site"
                found |= {"limited_by": limited, "most_days": 365}
                return 201, {**found, "token": f"nuc_{found['id']}_" + "x" * 43}, {}
            case ("DELETE", "token", identifier):
                if self.tokens.pop(identifier, None):
                    return 204, None, {}
                return problem("unknown-token", 404, f"there is no token {identifier}")
        return problem("not-found", 404, "there is nothing here")

    def in_cluster(
        self, method: str, found: Json, rest: list[str], query: dict[str, list[str]], body: Any
    ) -> Any:
        name = found["name"]
        match (method, *rest):
            case ("GET",):
                return 200, found, {}
            case ("POST", "rename"):
                for it in found["computes"]:
                    it["name"] = body["map"].get(it["name"], it["name"])
                return 204, None, {}
            case (_, "frontend", *action):
                machine = found["frontend"]
            case (_, "compute", compute, *action):
                machine = next((it for it in found["computes"] if it["name"] == compute), None)
                if machine is None:
                    return problem("unknown-node", 404, f"cluster {name} has no compute {compute}")
                free = ("console", "attach_iso", "reinstall", "clone")
                if action and action[0] not in free and machine["active_computeset_state"] != "running":
                    return problem("not-in-running-set", 409, f"{compute} is in no running computeset")
            case _:
                return problem("not-found", 404, "there is nothing here")
        if not action:
            return 200, machine, {}
        if action[0] == "console":
            ticket = {"page_url": "https://elsewhere.example/nucleus/console/ticket#autoconnect"}
            ticket |= {"ws_url": "wss://elsewhere.example/ws/console/ticket", "expires_at": ""}
            return 201, ticket, {}
        if action[0] in ("reinstall", "clone"):
            if body["confirm"] != machine["name"]:
                return problem("invalid-request", 400, f"repeat the name of {machine['name']}")
            if machine["power"] == "on":
                return problem("state-conflict", 409, f"{machine['name']} is on; power it off first")
        elif action[0] == "attach_iso":
            machine["iso"] = query["iso_name"][0] or None
        else:
            power = {"poweroff": "off", "shutdown": "off"}.get(action[0], "on")
            machine |= {"power": power, "state": "active" if power == "on" else "nostate"}
        return 202, self.operation(action[0], cluster=name, node=machine["name"]), {}

    def add_image(self, name: str, project: str, content: bytes) -> Any:
        if any(it.rpartition("/")[2] == name for it in self.images):
            return problem("name-conflict", 409, f"there is an image {name} already")
        self.images.append(f"project/{project}/{name}")
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        return 202, self.operation("add_image"), {"Repr-Digest": f"sha-256=:{digest}:"}

    def delete_image(self, name: str) -> Any:
        """Unless a machine of the first cluster has it."""
        nodes = [self.clusters[0]["frontend"], *self.clusters[0]["computes"]]
        holders = [it["name"] for it in nodes if it["iso"] == name]
        if holders:
            remedy = {"code": "eject-image", "targets": [self.clusters[0]["name"], "vc2 vm-vc2-[0-1]"]}
            reason = f"{name} is in the drive of {holders[0]}"
            return problem("state-conflict", 409, f"{reason}; take it out", reason=reason, remedy=remedy)
        self.images.remove(name)
        return 202, self.operation("remove_image"), {}

    def start(self, body: Json) -> Any:
        found = next((it for it in self.clusters if it["name"] == body["cluster"]), None)
        if found is None:
            return problem("unknown-cluster", 404, f"there is no cluster {body['cluster']}")
        free = [it for it in found["computes"] if it["active_computeset"] is None]
        expected = body.get("computes") or [it["name"] for it in free[: body["count"]]]
        chosen = [it for it in found["computes"] if it["name"] in expected]
        if len(chosen) < body.get("count", 0):
            return problem("not-enough-nodes", 409, f"{len(free)} computes of {found['name']} are available")
        held = next((it for it in chosen if it["active_computeset"] is not None), None)
        if held:
            return problem("node-busy", 409, f"{held['name']} is in computeset {held['active_computeset']}")
        number = len(self.sets) + 1
        for it in chosen:
            it |= {"active_computeset": number, "active_computeset_state": "running"}
            it |= {"power": "on", "state": "active"}
        self.sets[number] = {
            "id": number,
            "created": "2026-11-22T10:00:00.000Z",
            "state": "running",
            "cluster": found["name"],
            "account": body.get("allocation") or found["allocations"][0],
            "walltime_mins": body.get("walltime_mins", 1440),
            "start_time": int(time.time()),
            "reservation": None,
            "computes": chosen,
            "end_reason": None,
            "degraded": False,
        }
        location = f"{self.url}/v1/computeset/{number}"
        return 202, self.operation("computeset.start", computeset=number), {"Location": location}

    def estimate(self, body: Json) -> Any:
        if body["walltime_mins"] > 10080:
            return problem("invalid-request", 400, "a walltime of 20160 minutes is not possible here")
        names = body.get("computes") or [f"vm-vc2-{it}" for it in range(body["count"])]
        found = {"cluster": body["cluster"], "computes": names, "allocation": "alp1", "left_minutes": 112_320}
        found |= {"walltime_mins": body["walltime_mins"], "node_minutes": len(names) * body["walltime_mins"]}
        return 200, {**found, "estimated_start": None, "waiting": "others are before it"}, {}

    def in_set(self, number: int, rest: list[str], body: Any) -> Any:
        found = self.sets.get(number)
        if found is None:
            return problem("unknown-set", 404, f"there is no computeset {number}")
        if rest == ["merge"]:
            other = self.sets.pop(body["computeset"], None)
            if other is None:
                return problem("unknown-set", 404, f"there is no computeset {body['computeset']}")
            found["computes"] += other["computes"]
            found["merged"] = [*found.get("merged", ()), other["id"]]
            return 204, None, {}
        if not rest and body:
            if body["walltime_mins"] > 10080:
                return 202, self.operation("extend_set", "alp1 has 1 node hours left; this needs 300"), {}
            found["walltime_mins"] = body["walltime_mins"]
            return 202, self.operation("extend_set", computeset=number), {}
        if not rest:
            return 200, found, {}
        if rest[0] in ("poweroff", "shutdown"):
            found["state"] = "cancelled"
            for it in found["computes"]:
                it |= {"active_computeset": None, "active_computeset_state": None}
                it |= {"power": "off", "state": "nostate"}
        return 202, self.operation(f"computeset.{rest[0]}", computeset=number), {}

    def poll(self, identifier: str) -> Any:
        found = self.operations.get(identifier)
        if found is None:
            return problem("unknown-operation", 404, f"there is no operation {identifier}")
        self.polls_until_done -= 1
        if found["state"] == "running" and self.polls_until_done <= 0:
            found["state"] = "succeeded"
        return 200, found, {}


def problem(slug: str, status: int, detail: str, **more: Any) -> tuple[int, Json, dict[str, str]]:
    """A refusal as Nucleus writes it (RFC 9457)."""
    document = {"type": f"/problems/{slug}", "code": slug, "title": slug, "status": status, "detail": detail}
    return status, {**document, **more}, {}


def answer(status: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """A prepared answer for `answers`; underscores of header names are dashes."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def published_nucleus(server: NucleusServer, authorization: str) -> None:
    """Have the server answer as the published Nucleus: details end in `/`, and it lacks the later paths."""
    missing = json.dumps({"detail": "Not found."}).encode()

    def send(handler: Any) -> None:
        path = handler.path.partition("?")[0]
        segments = path.strip("/").split("/")[2:]
        if handler.headers["Authorization"] != authorization:
            answer(401, b'{"detail": "Authentication credentials were not provided."}')(handler)
        elif handler.command == "GET" and segments[0] in ("cluster", "computeset") and path[-1] != "/":
            answer(301, b"", Location=f"{path}/")(handler)
        elif (handler.command, segments[-1]) == ("POST", "image"):
            answer(400, b'"md5 header is missing"')(handler)
        elif segments[-1] == "console":
            answer(405, b'{"detail": "Method \\"POST\\" not allowed."}')(handler)
        elif segments[-1] != "rename":
            handler.reply(*server.route(handler.command, segments, {}, None))
        elif len(segments) != 5:
            answer(404, b"<h1>Not Found</h1>")(handler)
        else:
            computes = {it["name"]: it for it in server.clusters[0]["computes"]}
            new = json.loads(server.requests[-1][3])["name"]
            found = computes.get(segments[3])
            if found is None or new in computes:
                answer(404 if found is None else 400, missing)(handler)
            else:
                found["name"] = new
                answer(204, b"")(handler)

    server.answers[""] = send


def _handler(server: NucleusServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(min(length, _MOST_BYTES))
            self.close_connection = length > _MOST_BYTES  # as nginx, which refuses by the headers
            server.requests.append((self.command, self.path, self.headers, body))
            parts = urlsplit(self.path)
            prepared = next((it for path, it in server.answers.items() if path in self.path), None)
            if prepared:
                prepared(self)
            elif parts.path.endswith("/rest-auth/login/"):
                good = json.loads(body) == {"username": "ann", "password": PASSWORD}
                refusal = problem("not-authenticated", 401, "Not known")
                self.reply(*((200, {"key": TOKEN}, {}) if good else refusal))
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.reply(*problem("not-authenticated", 401, "The token is not known"))
            else:
                segments = [unquote(it) for it in parts.path.split("/") if it][2:]
                self.reply(*self.once(segments, parse_qs(parts.query, keep_blank_values=True), body))

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = serve  # noqa: N815

        def once(self, segments: list[str], query: dict[str, list[str]], body: bytes) -> Any:
            key = self.headers.get("Idempotency-Key")
            if key is None or key not in server.replayed:
                is_image = self.headers.get("Content-Type") == "application/octet-stream"
                given = body if is_image else json.loads(body) if body else None
                found = server.route(self.command, segments, query, given)
                if key is None:
                    return found
                server.replayed[key] = found
            return server.replayed[key]

        def reply(self, status: int, document: Any, headers: dict[str, str]) -> None:
            body = b"" if document is None else json.dumps(document).encode()
            etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if self.command == "GET" and status == 200:
                headers = {**headers, "ETag": etag}
                if self.headers.get("If-None-Match") == etag:
                    status, body = 304, b""
            answer(status, body, **{name.replace("-", "_"): value for name, value in headers.items()})(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
