"""What differs between kinds of clouds: a row for each. All else is Libcloud's, and the same for all."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import urlsplit

from comet.cli.context import warn
from comet.client.configuration import checked_url
from comet.client.errors import (
    AuthenticationError,
    CometError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from comet.clouds.answers import bound, ending, without

_REPLY_SECONDS = 60
_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE_SECONDS = 60.0

Values = Mapping[str, str]


class Provider(NamedTuple):
    """A kind of cloud: settings beside `user` and `secret`, keywords of the constructor, and what follows."""

    needed: tuple[str, ...]
    optional: tuple[str, ...]
    construct: Callable[[Values], dict[str, Any]]
    own_images: Mapping[str, str]
    """Keywords of `list_images`, where all images would be too many."""
    networks: str
    """The driver's function that lists them; `groups` lists security groups."""
    groups: str
    place: Callable[[Optional[Any], list[Any]], dict[str, Any]]
    """Keywords of `create_node` for a network and security groups."""
    delete_group: Callable[[Any, Any], object]
    rules: Callable[[Any], list[str]]
    """What a group lets in, as PROTOCOL:PORTS:SOURCE."""
    open: Callable[[Any, Any, str, tuple[int, int], str], object]
    """Driver, group, protocol, first and last port, network that is let in."""


def _ec2(values: Values) -> dict[str, Any]:
    found: dict[str, Any] = {"region": values.get("region") or "us-east-1", "signature_version": "4"}
    if values.get("url"):  # another server that answers as EC2
        url = urlsplit(checked_url(values["url"]))
        found |= {"host": url.hostname, "port": url.port or 443, "secure": url.scheme == "https"}
    return found


def _ec2_place(network: Optional[Any], groups: list[Any]) -> dict[str, Any]:
    if network is None:
        return {"ex_security_groups": [it.name for it in groups]} if groups else {}
    return {"ex_subnet": network, "ex_security_group_ids": [it.id for it in groups]}


def _openstack(values: Values) -> dict[str, Any]:
    """Arguments for OpenStack. Without a project, `user` and `secret` are an application credential's."""
    url = checked_url(values["url"]).removesuffix("/v3")  # as sites name it; Libcloud adds it
    found: dict[str, Any] = {"api_version": "2.2", "ex_force_auth_url": url}
    found["ex_force_auth_version"] = "3.x_password" if values.get("project") else "3.x_appcred"
    found |= {"ex_tenant_name": values.get("project"), "ex_force_service_region": values.get("region")}
    return found | ({"ex_domain_name": values["domain"]} if values.get("domain") else {})


def _rule(protocol: object, first: object, last: object, source: object) -> str:
    return f"{protocol or 'any'}:{first if first == last else f'{first}-{last}'}:{source or 'any'}"


PROVIDERS = {
    "ec2": Provider(
        needed=(),
        optional=("region", "url"),
        construct=_ec2,
        own_images={"ex_owner": "self"},
        networks="ex_list_subnets",
        groups="ex_get_security_groups",
        place=_ec2_place,
        delete_group=lambda driver, group: driver.ex_delete_security_group_by_id(group.id),
        rules=lambda group: [
            _rule(it["protocol"], it["from_port"], it["to_port"], source)
            for it in group.ingress_rules
            for source in it["cidr_ips"]
        ],
        open=lambda driver, group, protocol, ports, source: driver.ex_authorize_security_group_ingress(
            group.id, *ports, cidr_ips=[source], protocol=protocol
        ),
    ),
    "openstack": Provider(
        needed=("url",),
        optional=("project", "domain", "region"),
        construct=_openstack,
        own_images={},
        networks="ex_list_networks",
        groups="ex_list_security_groups",
        place=lambda net, groups: {"networks": [net] if net else [], "ex_security_groups": groups},
        delete_group=lambda driver, group: driver.ex_delete_security_group(group),
        rules=lambda group: [
            _rule(it.ip_protocol, it.from_port, it.to_port, it.ip_range)
            for it in group.rules
            if it.ip_protocol or it.ip_range  # the others are what it lets out
        ],
        open=lambda driver, group, protocol, ports, source: driver.ex_create_security_group_rule(
            group, protocol, *ports, source
        ),
    ),
}


class Engine:
    """The account of a cloud. Every error of Libcloud comes out as one of comet's, without the secret."""

    def __init__(self, name: str, values: Values, file: object) -> None:
        self.name, self.row = name, PROVIDERS[values["provider"]]
        self._secret, self._file = values["secret"], file
        make, named = _driver(values["provider"]), self.row.construct(values)
        self.driver = self.ask(make, values["user"], values["secret"], timeout=_REPLY_SECONDS, **named)

    def ask(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call Libcloud; again after a pause if the cloud limits requests, since such a request was not done."""
        for pause in (*_PAUSES_SECONDS, None):
            try:
                with ending():
                    return function(*given, **named)
            except Exception as error:  # bare ones of Libcloud, those of requests, and those of its parsers
                found = self._translated(error)
                if pause is None or found.retry_after is None or found.retry_after > _LONGEST_PAUSE_SECONDS:
                    raise found from None
                seconds = max(pause, found.retry_after)
                warn(f"cloud {self.name} limits requests: asking again in {seconds:g} seconds")
                time.sleep(seconds)
        raise AssertionError("unreachable")

    def all(self, what: str) -> list[Any]:
        """Machines (`vm`) without EC2's deleted ones, images, flavors, keys, secgroups or networks."""
        driver = self.driver
        found = {
            "vm": lambda: [it for it in driver.list_nodes() if str(it.state) != "terminated"],
            "image": lambda: driver.list_images(**self.row.own_images),
            "flavor": driver.list_sizes,
            "key": driver.list_key_pairs,
            "secgroup": getattr(driver, self.row.groups),
            "network": getattr(driver, self.row.networks),
        }
        return list(self.ask(found[what]))

    def choose(self, what: str, text: str) -> Any:
        """The one with this name or id; an image also by an id that is not listed.

        NotFoundError without it, RefusedError where several have the name.
        """
        listed = self.all(what)
        found = [it for it in listed if text == getattr(it, "id", None)]
        found = found or [it for it in listed if text == it.name]
        if not found and what == "image" and self.row.own_images:
            with contextlib.suppress(RefusedError, NotFoundError):
                found = [self.ask(self.driver.get_image, text)]
        if not found:
            advice = "" if what == "network" else f". List them: cm {what} list"
            raise NotFoundError(f"cloud {self.name} has no {what} '{text}'{advice}")
        if len(found) > 1:
            ids = ", ".join(it.id for it in found)
            raise RefusedError(f"cloud {self.name} has several of the name '{text}': give an id of {ids}")
        return found[0]

    def _translated(self, error: Exception) -> CometError:
        text = str(getattr(error, "value", None) or error) or type(error).__name__
        text = " ".join(without(self._secret, text).split())[:300]
        cloud, status = f"cloud {self.name}", getattr(error, "code", None)
        where = f"[clouds.{self.name}] in {self._file}"
        if isinstance(error, OSError):
            return UnreachableError(f"{cloud} does not answer: {text}")
        if re.search("expired|not yet current|TooSkewed", text, re.IGNORECASE) and status != 401:
            advice = "the clock of this machine is off: set it (timedatectl), and repeat the command"
            return RefusedError(f"{cloud} refused the time of the request: {advice}. It answered: {text}")
        if status == 429 or re.search("RequestLimitExceeded|Throttling", text):
            stated = re.match("[0-9]{1,6}", str(getattr(error, "retry_after", "")))
            seconds = int(stated[0]) if stated else 0
            limited = RefusedError(f"{cloud} limits requests: repeat it in {max(seconds, 60)} seconds")
            limited.retry_after = seconds
            return limited
        if type(error).__name__ == "InvalidCredsError" or status in (401, 403) and "uota" not in text:
            return AuthenticationError(f"{cloud} does not take user and secret of {where}: {text}")
        if re.search(r"LimitExceeded|quota", text, re.IGNORECASE):
            return RefusedError(
                f"a quota of {cloud} is used up: {text}. Your machines there: cm vm list --cloud={self.name}"
            )
        if re.search("Invalid region|specified endpoint|1 matching endpoint", text):
            return UsageError(f"{cloud} has no such region: correct region of {where}")
        return (NotFoundError if status == 404 else RefusedError)(f"{cloud} has not done it: {text}")


def _driver(provider: str) -> Callable[..., Any]:
    os.environ.pop("LIBCLOUD_DEBUG", None)  # it would write requests with their secrets into a file
    try:
        found: Callable[..., Any] = importlib.import_module("libcloud.compute.providers").get_driver(provider)
        bound(importlib.import_module("libcloud.http").LibcloudBaseConnection)
    except ImportError as error:
        raise UsageError(
            f"clouds need Apache Libcloud, which {sys.executable} does not have ({error}): "
            f"{sys.executable} -m pip install 'apache-libcloud>=3.4', or apt-get install python3-libcloud"
        ) from None
    return found
