"""Answers as OpenStack's API reference has them: Keystone, Nova, Glance and Neutron of one project, in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from werkzeug.serving import WSGIRequestHandler, make_server

PASSWORD = "s3cret of the cloud"
SERVICES = {
    "nova": ("compute", "/compute/v2.1"),
    "glance": ("image", "/image"),
    "neutron": ("network", "/network"),
}


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: Any) -> None:
        """No line for each request."""


class OpenStackServer:
    """`refusals`: the next answers to (method and path), as status and headers, with Nova's document of an error."""

    def __init__(self) -> None:
        self.refusals: dict[str, list[tuple[str, dict[str, str], str]]] = {}
        self.requests: list[str] = []
        self.servers: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def is_known(self, token: str) -> bool:
        """Whether a token is one of this server's."""
        return token == "a-token"

    def _answer(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        request = f"{method} {path}"
        self.requests.append(request)
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        headers = {"Content-Type": "application/json"}
        if self.refusals.get(request):
            status, more, message = self.refusals[request].pop(0)
            headers |= more
            found: Any = {"error": {"code": int(status.split()[0]), "message": message}}
        elif request == "POST /v3/auth/tokens":
            status, found = self._token(json.loads(body))
            headers["X-Subject-Token"] = "a-token"
        elif not self.is_known(environment.get("HTTP_X_AUTH_TOKEN", "")):
            status, found = "401 Unauthorized", {"error": {"code": 401, "message": "no token"}}
        else:
            status, found = self._resource(method, path, json.loads(body) if body else {})
        start(status, list(headers.items()))
        return [json.dumps(found).encode()] if found is not None else [b""]

    def _token(self, asked: dict[str, Any]) -> tuple[str, Any]:
        user = asked["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"]) != ("ann", PASSWORD):
            return "401 Unauthorized", {
                "error": {"code": 401, "message": "The request requires authentication."}
            }
        place = {"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "id": "e"}
        catalog = [
            {"type": kind, "name": name, "id": name, "endpoints": [{**place, "url": self.url + path}]}
            for name, (kind, path) in SERVICES.items()
        ]
        issued, expires = "2026-12-02T00:00:00.000000Z", "2036-12-02T00:00:00.000000Z"
        owner = {"id": "u1", "name": "ann", "domain": {"id": "default", "name": "Default"}}
        token = {"methods": ["password"], "issued_at": issued, "expires_at": expires, "user": owner}
        return "201 Created", {"token": {**token, "catalog": catalog, "roles": []}}

    def _resource(self, method: str, path: str, asked: dict[str, Any]) -> tuple[str, Any]:
        kind, _, name = path.removeprefix("/compute/v2.1/").removeprefix("/network/v2.0/").partition("/")
        if path == "/image/v2/images":
            times = {"created_at": "2026-12-01T00:00:00Z", "updated_at": "2026-12-01T00:00:00Z"}
            image = {
                "id": "i-1",
                "name": "debian-12",
                "status": "active",
                "min_disk": 0,
                "min_ram": 0,
                "size": 1,
                **times,
            }
            return "200 OK", {"images": [image]}
        if path == "/compute/v2.1/flavors/detail":
            flavor = {
                "id": "f-1",
                "name": "m1.small",
                "ram": 2048,
                "disk": 20,
                "vcpus": 2,
                "swap": "",
                "links": [],
            }
            return "200 OK", {"flavors": [flavor]}
        if path == "/network/v2.0/networks":
            return "200 OK", {"networks": [{"id": "n-1", "name": "private", "subnets": []}]}
        if kind == "servers":
            return self._servers(method, name, asked.get("server", {}))
        if kind == "os-keypairs":
            if method == "POST":
                self.keys[asked["keypair"]["name"]] = {**asked["keypair"], "fingerprint": "aa:bb"}
                return "200 OK", {"keypair": self.keys[asked["keypair"]["name"]]}
            if method == "DELETE":
                del self.keys[name]
                return "202 Accepted", None
            return "200 OK", {"keypairs": [{"keypair": it} for it in self.keys.values()]}
        if kind == "security-groups":
            if method == "POST":
                made = {
                    "id": f"g-{len(self.groups)}",
                    "tenant_id": "p",
                    **asked["security_group"],
                    "security_group_rules": [],
                }
                self.groups[made["id"]] = made
                return "201 Created", {"security_group": made}
            if method == "DELETE":
                del self.groups[name]
                return "204 No Content", None
            return "200 OK", {"security_groups": list(self.groups.values())}
        if kind == "security-group-rules":
            rule = {"id": "r-1", "tenant_id": "p", **asked["security_group_rule"]}
            self.groups[rule["security_group_id"]]["security_group_rules"].append(rule)
            return "201 Created", {"security_group_rule": rule}
        return "404 Not Found", {"itemNotFound": {"code": 404, "message": f"no {path}"}}

    def _servers(self, method: str, name: str, asked: dict[str, Any]) -> tuple[str, Any]:
        if method == "POST":
            number = f"s-{len(self.servers) + 1}"
            self.servers[number] = {
                "links": [{"rel": "self", "href": f"{self.url}/compute/v2.1/servers/{number}"}],
                "id": number, "name": asked["name"], "status": "ACTIVE", "asked": asked, "metadata": {},
                "hostId": "", "tenant_id": "p", "user_id": "u1", "key_name": asked.get("key_name"),
                "created": "2026-12-02T00:00:00Z", "updated": "2026-12-02T00:00:00Z",
                "addresses": {"private": [{"addr": "192.0.2.7", "version": 4, "OS-EXT-IPS:type": "fixed"}]},
                "flavor": {"id": asked["flavorRef"]}, "image": {"id": asked["imageRef"]},
            }  # fmt: skip
            return "202 Accepted", {"server": {"id": number, "links": [], "adminPass": "x"}}
        if method == "DELETE":
            del self.servers[name]
            return "204 No Content", None
        if name == "detail":
            return "200 OK", {"servers": list(self.servers.values())}
        return "200 OK", {"server": self.servers[name]}
