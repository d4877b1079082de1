"""Reads the configuration files of the second generation, site_conf.conf and kvm_rocks.conf. Pure.

They are Python, which the second generation executed. Here they are only parsed: assignments of literals and range().
"""

from __future__ import annotations

import ast

from rocks.core.errors import UserError
from rocks.core.terminal import one_line

from .cluster_list import LIST
from .site import ADDRESSES, DRIVER, INTERFACES, LOGS, REPOSITORY, RESERVED, URL, whole_number

MAX_BYTES = 64 * 1024
_VLANS = "vm_vlan_pool"
_OTHERS = {
    "netmask": "the network public has it (rocks list network)",
    "gw": "the attribute Kickstart_PublicGateway has it",
    "dns": "the attribute Kickstart_PublicDNSServers has it",
    "diskdir": "the attribute vm_image_directory of hosts has it",
    "available_containers": "hosts with the attribute kvm are used (rocks set host attr HOST kvm true)",
    "temp_directory": "it is not needed",
    "site_ve_driver": "give its folder as the attribute pragma_driver",
}
"""Names that are not loaded → where the site has that."""
_REPOSITORY = {"repository_dir": REPOSITORY, "repository_url": URL}
"""Keys of repository_settings → attributes."""
_OTHER_KEYS = {
    "vcdb_filename": f"the list is always {LIST}: rename the old list to that",
    "repository_class": "a repository is a folder, or one of a web server",
}
_AS_HERE = (("vcdb_filename", LIST), ("repository_class", "local"), ("repository_class", "http"))
"""Keys and values of repository_settings that are so here anyway."""


def read_settings_file(data: bytes, what: str) -> tuple[dict[str, str], list[str]]:
    """(attribute → value, a line for each name that is not loaded). UserError, with its line, for what is no value."""
    if len(data) > MAX_BYTES:
        raise UserError(f"{what} has more than {MAX_BYTES} bytes; this is no configuration file")
    try:
        statements = ast.parse(data).body
    except SyntaxError as error:
        where = f"line {error.lineno} of {what}" if error.lineno else what
        raise UserError(
            f"{where} cannot be read as a configuration file: {one_line(error.msg)[:200]}"
        ) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{what} is not a configuration file: {one_line(str(error))[:200]}") from None
    attributes: dict[str, str] = {}
    notes: list[str] = []
    for statement in statements:
        where = f"line {statement.lineno} of {what}"
        if (
            not isinstance(statement, ast.Assign)
            or len(statement.targets) != 1
            or not isinstance(statement.targets[0], ast.Name)
        ):
            raise UserError(f"{where} is no assignment of a value to a name; only those are read")
        name, value = statement.targets[0].id, _value(statement.value, where)
        try:
            found = _attributes(name, value)
        except (TypeError, ValueError, AttributeError, OverflowError):
            raise UserError(f"{where} has no valid value of {name}") from None
        attributes.update(found)
        if name == "repository_settings" and isinstance(value, dict):
            notes += [
                f"{one_line(str(key))[:80]} of {name} is not loaded: {_OTHER_KEYS.get(key, 'it is not known')}"
                for key, one in value.items()
                if key not in _REPOSITORY and (key, one) not in _AS_HERE
            ]
        elif not found:
            notes.append(f"{name} is not loaded: {_OTHERS.get(name, 'it is not known')}")
    return attributes, notes


def _value(node: ast.expr, where: str) -> object:
    try:
        if isinstance(node, ast.Call):
            if not isinstance(node.func, ast.Name) or node.func.id != "range" or node.keywords:
                raise ValueError("a call")
            return range(*(int(ast.literal_eval(argument)) for argument in node.args))
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError, OverflowError):
        raise UserError(
            f"{where} is no number, text, list, dictionary or range(); nothing is executed, so write the value itself"
        ) from None


def _attributes(name: str, value: object) -> dict[str, str]:
    """The attributes that a name stands for; none for a name that is not loaded."""
    if name == "public_ips":
        return {ADDRESSES: " ".join(_texts(value))}
    if name == "vlans":
        vlans = [int(str(one)) for one in _items(value)]
        return {_VLANS: ",".join(map(str, vlans))}
    if name == "num_processors_reserved":
        if (reserved := whole_number(str(value))) is None:
            raise ValueError(value)
        return {RESERVED: str(reserved)}
    if name == "log_directory":
        return {LOGS: _folder(value)}
    if name == "additional_interfaces" and isinstance(value, dict):
        return {
            INTERFACES: " ".join(f"{_text(network)}:{_text(device)}" for network, device in value.items())
        }
    if name == "repository_settings" and isinstance(value, dict):
        return {
            _REPOSITORY[key]: _folder(text) if key == "repository_dir" else _text(text)
            for key, text in value.items()
            if key in _REPOSITORY
        }
    if name == "site_ve_driver" and value == "kvm_rocks":
        return {DRIVER: "kvm_rocks"}
    return {}


def _items(value: object) -> list[object]:
    if not isinstance(value, list | tuple | range) or not 0 < len(value) <= 4094:
        raise ValueError(value)
    return list(value)


def _texts(value: object) -> list[str]:
    return [_text(one) for one in _items(value)]


def _folder(value: object) -> str:
    if not (path := _text(value)).startswith("/"):
        raise ValueError(value)
    return path


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ValueError(value)
    return value
