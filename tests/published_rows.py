"""The 34 requests of the published service's table, as an old client sends them: Basic, JSON, no `Prefer`.

`python3 -m tests.published_rows URL USER TOKEN CLUSTER NODE DOOMED` asks them of a service and prints a table.
CLUSTER and its compute NODE are off and in no computeset; the cluster DOOMED, which is off, and its compute are
destroyed.
"""

import base64
import hashlib
import http.client
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.waiting import wait_until

SECONDS = 300.0
CLUSTER_FIELDS = {"name", "description", "project", "vlan", "allocations", "frontend", "computes"}
FRONTEND_FIELDS = {
    *("name", "state", "memory", "cpus", "disksize", "type", "interface", "frontend_state"),
    *("pub_ip", "pub_mac", "pub_netmask", "gateway", "dns1", "dns2", "ntp"),
}
COMPUTE_FIELDS = {
    *("name", "interface", "memory", "cpus", "disksize", "cluster", "type", "state", "compute_state"),
    *("active_computeset", "active_computeset_state"),
}
COMPUTESET_FIELDS = {"id", "state", "cluster", "account", "walltime_mins", "start_time"}
COMPUTESET_FIELDS |= {"reservation", "computes"}
USER_FIELDS = {"username", "email", "first_name", "last_name"}
ISO = bytes(0x8001) + b"CD001" + bytes(4096)
"""The smallest file that passes for an image."""


class Answer(NamedTuple):
    """A response that was read to its end; `content` is its JSON, where it has one."""

    code: int
    headers: http.client.HTTPMessage
    content: Any


class Asked(NamedTuple):
    """A row: its number, what was asked, the published code, the code of the answer, and what is missing of its fields
    and effects."""

    number: int
    request: str
    expected: int
    code: int
    missing: set[str]


class OldClient:
    """Asks as the published client does, one connection for each request."""

    def __init__(self, url: str, user: str, token: str) -> None:
        self._url = urlsplit(url)
        basic = base64.b64encode(f"{user}:{token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
        self.asked: list[Asked] = []

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        sent = {**self._headers, **(headers or {})}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(self._url.hostname or "", self._url.port, timeout=SECONDS)
        try:
            connection.request(method, f"{self._url.path}{path}", body, sent)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(response.status, response.headers, json.loads(text) if is_json and text else None)

    def row(
        self,
        number: int,
        method: str,
        path: str,
        expected: int,
        fields: set[str] | None = None,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        answer = self.ask(method, path, body, headers)
        found = answer.content[0] if isinstance(answer.content, list) and answer.content else answer.content
        missing = (fields or set()) - set(found if isinstance(found, dict) else ())
        self.asked.append(Asked(number, f"{method} {path}", expected, answer.code, missing))
        return answer

    def expect(self, is_so: bool, what: str) -> None:
        """What the next GET must show of the last row: `what` is missing else."""
        if not is_so:
            self.asked[-1] = self.asked[-1]._replace(missing={what})

    def until(self, path: str, reached: Callable[[Any], bool]) -> None:
        """Look until it is so, as an old client does."""
        wait_until(lambda: reached(self.ask("GET", path).content), f"what {path} is to reach")


def ask_all(client: OldClient, cluster: str, node: str, doomed: str) -> list[Asked]:
    """All rows, each at a time when the published service would accept it; in the order of their numbers."""
    base = f"/v1/cluster/{cluster}"
    _read(client, base, node)
    _upload(client)
    _frontend(client, f"{base}/frontend", cluster)
    _sets(client, base, cluster, node)
    client.row(10, "POST", f"{base}/compute/{node}/rename", 204, body={"name": f"{node}-b"})
    client.ask("POST", f"{base}/compute/{node}-b/rename", {"name": node})
    other = client.ask("GET", f"/v1/cluster/{doomed}").content["computes"][0]["name"]
    client.row(5, "DELETE", f"/v1/cluster/{doomed}/compute/{other}?confirm={other}", 204)
    left = client.ask("GET", f"/v1/cluster/{doomed}").content["computes"]
    client.expect(other not in [one["name"] for one in left], "the node's removal")
    client.row(3, "DELETE", f"/v1/cluster/{doomed}?confirm={doomed}", 204)
    client.expect(client.ask("GET", f"/v1/cluster/{doomed}").code == 404, "the cluster's removal")
    return sorted(client.asked)


def _read(client: OldClient, base: str, node: str) -> None:
    client.row(1, "GET", "/v1/cluster/", 200, CLUSTER_FIELDS)
    client.row(2, "GET", base, 200, CLUSTER_FIELDS)
    client.row(4, "GET", f"{base}/compute/{node}", 200, COMPUTE_FIELDS)
    client.row(13, "GET", f"{base}/frontend/", 200, FRONTEND_FIELDS)
    user = client.row(29, "GET", "/v1/user", 200, USER_FIELDS).content
    names = {key: user[key] or "Somebody" for key in ("first_name", "last_name")}
    client.row(30, "PUT", "/v1/user", 200, USER_FIELDS, names)
    client.row(31, "PATCH", "/v1/user", 200, USER_FIELDS, {"first_name": names["first_name"]})
    client.row(32, "GET", "/v1/project", 200, {"name"})


def _upload(client: OldClient) -> None:
    boundary, name = uuid.uuid4().hex, f"row{uuid.uuid4().hex[:8]}.iso"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + ISO + f"\r\n--{boundary}--\r\n".encode()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "md5": hashlib.md5(ISO, usedforsecurity=False).hexdigest(),
    }
    client.row(34, "POST", "/v1/image", 204, body=body, headers=headers)
    listed = client.row(33, "GET", "/v1/image", 200).content
    client.expect(any(one.endswith(name) for one in listed), "the uploaded image")


def _frontend(client: OldClient, base: str, cluster: str) -> None:
    client.row(14, "PUT", f"{base}/attach_iso?iso_name=", 204)
    client.row(16, "PUT", f"{base}/poweron", 204)
    client.until(f"{base}/", lambda it: it["state"] == "active")
    client.row(21, "GET", f"{base}/console/", 303)
    for number, action in ((17, "reboot"), (18, "reset"), (19, "shutdown"), (15, "poweroff")):
        client.row(number, "PUT", f"{base}/{action}", 204)
    client.until(f"{base}/", lambda it: it["state"] == "nostate")


def _sets(client: OldClient, base: str, cluster: str, node: str) -> None:
    """A computeset from its start to its end, what is allowed in it; then another, which is powered off."""
    compute = f"{base}/compute/{node}"
    client.row(6, "PUT", f"{compute}/attach_iso?iso_name=", 204)
    asked = {"cluster": cluster, "computes": node, "walltime_mins": "60"}
    new = client.row(22, "POST", "/v1/computeset/", 201, COMPUTESET_FIELDS, asked)
    one = urlsplit(new.headers["Location"]).path.rpartition("/v1/")[2]
    _until_on(client, f"/v1/{one}", compute)
    client.row(23, "GET", "/v1/computeset/?state=running", 200, COMPUTESET_FIELDS)
    client.row(24, "GET", f"/v1/{one}", 200, COMPUTESET_FIELDS)
    client.row(20, "GET", f"{compute}/console/", 303)
    for number, action in ((9, "reboot"), (11, "reset"), (12, "shutdown"), (7, "poweroff"), (8, "poweron")):
        client.row(number, "PUT", f"{compute}/{action}", 204)
    # each waits for the one before it, so the node is on again when the last operation has ended
    _until_idle(client)
    client.row(26, "PUT", f"/v1/{one}/reboot", 204)
    client.row(27, "PUT", f"/v1/{one}/reset", 204)
    _until_idle(client)
    client.row(28, "PUT", f"/v1/{one}/shutdown", 204)
    client.until(f"/v1/{one}", lambda it: it["state"] == "cancelled")
    new = client.ask("POST", "/v1/computeset/", asked)
    two = urlsplit(new.headers["Location"]).path.rpartition("/v1/")[2]
    _until_on(client, f"/v1/{two}", compute)
    client.row(25, "PUT", f"/v1/{two}/poweroff", 204)
    client.until(f"/v1/{two}", lambda it: it["state"] == "cancelled")


def _until_on(client: OldClient, one: str, compute: str) -> None:
    client.until(one, lambda it: it["state"] == "running")
    client.until(compute, lambda it: it["state"] == "active")


def _until_idle(client: OldClient) -> None:
    client.until("/v1/operation/?state=queued", lambda it: not it)
    running = "/v1/operation/?state=running"
    client.until(running, lambda it: not [one for one in it if one["kind"] != "start_set"])


def table(asked: list[Asked]) -> str:
    """In Markdown."""
    lines = ["| row | what was asked | published code | answered |", "|---|---|---|---|"]
    for one in asked:
        missing = f", without {', '.join(sorted(one.missing))}" if one.missing else ""
        lines.append(f"| {one.number} | `{one.request}` | {one.expected} | {one.code}{missing} |")
    return "\n".join(lines)


if __name__ == "__main__":
    URL, USER, TOKEN, *NAMES = sys.argv[1:]
    print(table(ask_all(OldClient(URL, USER, TOKEN), *NAMES)))
