#!/usr/bin/python
"""An Ansible module that does any operation of the REST interface of Nucleus, as its description (OpenAPI) has it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from urllib.parse import quote, urlencode, urljoin

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: nucleus
short_description: Do an operation of Nucleus, the service for owners of virtual clusters
description:
  - Reads the description of the interface from the service, so that every operation that it has can be done.
  - Values go where the description has them, into the path, the query, a header or the body; unknown ones are refused.
  - What the service does later is waited for. With check mode, only what changes nothing is done.
options:
  url: {description: "address of the service, as https://HOST/nucleus", type: str, required: true}
  token: {description: "a token, made by C(comet token create)", type: str, required: true}
  operation: {description: "its operationId, as compute_poweron; /docs of the service lists them", type: str, required: true}
  values: {description: "parameters and fields of the body", type: dict, default: {}}
  seconds: {description: "how long an operation is waited for", type: int, default: 600}
"""

EXAMPLES = """
- name: power a node on
  nucleus: {url: "{{ url }}", token: "{{ token }}", operation: compute_poweron, values: {c: vc2, n: vm-vc2-0}}
"""

RETURN = """
status: {description: "status of the answer", type: int, returned: always}
content: {description: "what was answered, or the operation when it has ended", type: raw, returned: always}
"""

METHODS = ("get", "put", "post", "patch", "delete")


class Service:
    """The service, by requests with a token."""

    def __init__(self, url, token):
        self.url = url.rstrip("/")
        self.token = token

    def ask(self, method, path, headers=None, body=None):
        """(status, headers, content). OSError without an answer."""
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json, application/problem+json",
        }
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(  # noqa: S310 - the address is the user's own
            urljoin(f"{self.url}/", path.lstrip("/")), data, {**sent, **(headers or {})}, method=method
        )
        try:
            answer = urllib.request.urlopen(request, timeout=90)  # noqa: S310
        except urllib.error.HTTPError as refusal:
            answer = refusal
        with answer:
            text = answer.read().decode("utf-8")
            kind = answer.headers.get_content_type()
        content = json.loads(text) if text and kind.endswith("json") else text or None
        return answer.status, answer.headers, content

    def wait(self, place, seconds):
        """The operation at this place when it has ended, or when the time is over."""
        end = time.monotonic() + seconds
        path = place.partition(self.url)[2] or place
        while True:
            _, _, operation = self.ask("GET", f"{path}?wait=20")
            if operation.get("state") in ("succeeded", "failed", "cancelled") or time.monotonic() > end:
                return operation


def request_of(description, name, values):
    """(method, path, headers, body) of the operation. ValueError for one, or for values, that are not described."""
    for path, methods in description["paths"].items():
        for method in METHODS:
            if methods.get(method, {}).get("operationId") == name:
                return _request(description, method, path, methods[method], dict(values))
    raise ValueError(f"the service has no operation {name!r}; its page /docs lists them")


def _request(description, method, path, operation, values):
    query, headers = {}, {"Prefer": "respond-async"}
    for parameter in operation.get("parameters", ()):
        place, name = parameter["in"], parameter["name"]
        if name not in values:
            if parameter.get("required"):
                raise ValueError(f"{operation['operationId']} needs the value {name!r}")
            continue
        value = str(values.pop(name))
        if place == "path":
            path = path.replace("{" + name + "}", quote(value, safe=""))
        else:
            (query if place == "query" else headers)[name] = value
    known = _fields(description, operation)
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{operation['operationId']} has no value {', '.join(unknown)}")
    return method.upper(), f"{path}?{urlencode(query)}" if query else path, headers, values if known else None


def _fields(description, operation):
    """The fields of the body, if it has one of JSON."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    parts = [schema, *schema.get("anyOf", ())]
    found = {}
    for part in parts:
        if "$ref" in part:
            part = description["components"]["schemas"][part["$ref"].rpartition("/")[2]]
        found.update(part.get("properties", {}))
    return found


def main():
    """Do what the playbook states."""
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "operation": {"type": "str", "required": True},
            "values": {"type": "dict", "default": {}},
            "seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    options = module.params
    service = Service(options["url"], options["token"])
    try:
        _, _, description = service.ask("GET", "/openapi.json")
        method, path, headers, body = request_of(description, options["operation"], options["values"])
        if module.check_mode and method != "GET":
            module.exit_json(changed=True, status=0, content=None)
        status, answered, content = service.ask(method, path, headers, body)
        if status == 202:
            content = service.wait(answered["Operation-Location"], options["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        module.fail_json(msg=f"{options['operation']}: {error}")
    if status >= 400:
        detail = content.get("detail") if isinstance(content, dict) else content
        module.fail_json(msg=f"{options['operation']}: {detail}", status=status, content=content)
    if status == 202 and content.get("state") != "succeeded":
        module.fail_json(
            msg=f"{options['operation']}: the operation {content.get('state')}",
            status=status,
            content=content,
        )
    module.exit_json(changed=method != "GET", status=status, content=content)


if __name__ == "__main__":
    main()
