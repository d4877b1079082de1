"""Every command of `comet`: its words, who runs it, what it takes. The parser and the completion are made from this.

Nothing is imported here but what starts in a millisecond: completion must answer within 50.
"""

from __future__ import annotations

from typing import NamedTuple


class Option(NamedTuple):
    """An option; without a `value` (its name in the help) it is a flag. `kind`: what completion offers."""

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    kind: str = ""


class Argument(NamedTuple):
    """An argument; `kind` says what completion offers: cluster, node, image, endpoint, file or nothing."""

    name: str
    help: str
    optional: bool = False
    kind: str = ""
    choices: tuple[str, ...] = ()


class Command(NamedTuple):
    """A command; `handler` is `module:function` below comet.cli."""

    path: tuple[str, ...]
    handler: str
    help: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()


FORMATS = ("table", "json", "yaml", "csv", "rest")
SORT_KEYS = (
    *("name", "state", "computeset", "allocation", "admin_state", "mac", "ip", "cluster"),
    *("kind", "type", "cpus", "ram", "disk"),
)
SET_STATES = (
    "created",
    "submitted",
    "running",
    "ending",
    "completed",
    "cancelled",
    "failed",
    "active",
    "all",
)

GLOBAL = (
    Option(("--endpoint",), "a configured server's name, or an address", "NAME", kind="endpoint"),
    Option(("--format",), "how data are printed (default: table)", "FORMAT", FORMATS),
    Option(("--legacy",), "json and rest as the old client printed them"),
    Option(
        ("--wait",), "wait until it has happened; --wait=SECONDS waits no longer (default: 3600)", "SECONDS"
    ),
    Option(("--no-wait",), "return when the server has accepted it (default)"),
    Option(("--yes", "-y"), "ask nothing"),
    Option(("--cached",), "show what was seen last; do not ask the server"),
    Option(("--quiet", "-q"), "no messages but errors"),
    Option(("--ca",), "the CA certificate of the server's site", "FILE", kind="file"),
    Option(("--config",), "another configuration file", "FILE", kind="file"),
    Option(("--timeout",), "seconds to wait for an answer (default: 30)", "SECONDS"),
)

_CLUSTER = Argument("cluster", "the cluster's name", kind="cluster")
_ANY_CLUSTER = Argument("cluster", "the cluster's name (default: all of yours)", True, "cluster")
_NODE = Argument("node", "a compute (default: the frontend)", True, "node")
_NODES = Argument("nodes", "computes such as vm-[0-3] (default: the frontend)", True, "node")
_POWER = Argument(
    "nodes", "computes such as vm-[0-3], or a computeset's number (default: the frontend)", True, "node"
)
_SET = Argument("computeset", "the computeset's number")
_START = (
    Option(("--count",), "any N free computes instead of named ones", "N"),
    Option(("--allocation",), "the allocation that is charged", "NAME"),
    Option(("--walltime",), "at most so long: a number with m, h, d or w (default: 2d)", "TIME"),
    Option(("--reservation",), "within this reservation", "NAME"),
)
_OLD_NAME = Option(("--isoname", "--imagename"), "another name than the file's", "NAME")


def _power(action: str, text: str, options: tuple[Option, ...] = ()) -> Command:
    return Command(("power", action), "power:power", text, (_CLUSTER, _POWER), options)


COMMANDS = (
    Command(
        ("init",),
        "settings:initialise",
        "write the configuration: server, user, token",
        (),
        (
            Option(("--url",), "the server's address, such as https://nucleus.example.org/nucleus", "URL"),
            Option(("--user",), "your user name there", "NAME"),
            Option(
                ("--token-file",),
                "a file with a token, - for standard input, instead of a password",
                "FILE",
                kind="file",
            ),
            Option(("--api-version",), "the version of the interface (default: v1)", "VERSION"),
        ),
    ),
    Command(
        ("active",),
        "settings:active",
        "show or choose the server that is asked",
        (Argument("name", "an endpoint's name", True, "endpoint"),),
    ),
    Command(
        ("acknowledge",), "settings:acknowledge", "read what an owner is responsible for, and acknowledge it"
    ),
    Command(("ll",), "clusters:summary_rows", "your clusters, one line each", (_ANY_CLUSTER,)),
    Command(
        ("cluster",),
        "clusters:nodes",
        "the nodes of your clusters",
        (_ANY_CLUSTER,),
        (
            Option(("--concise",), "fewer columns"),
            Option(("--status",), "names and states only"),
            Option(("--sort",), "order by this column", "KEY", SORT_KEYS),
        ),
    ),
    Command(
        ("computeset",),
        "computesets:show_sets",
        "running computesets, or one of any state",
        (Argument("computeset", "the computeset's number", True),),
        (
            Option(("--allocation",), "only those that are charged to it", "NAME"),
            Option(("--cluster",), "only those of a cluster", "NAME", kind="cluster"),
            Option(("--state",), "those in a state (default: running)", "STATE", SET_STATES),
        ),
    ),
    Command(
        ("start",),
        "computesets:start",
        "start computes together, as a computeset",
        (_CLUSTER, Argument("nodes", "computes such as vm-[0-3]", True, "node")),
        _START,
    ),
    Command(
        ("terminate",), "computesets:terminate", "end a computeset; its disks go back to the NAS", (_SET,)
    ),
    _power(
        "on", "switch the frontend on, or computes of a running set; free computes start as a set", _START
    ),
    _power("off", "switch off at once; a computeset ends"),
    _power("shutdown", "ask the system to shut down; a computeset ends"),
    _power("reboot", "ask the system to reboot"),
    _power("reset", "reset at once"),
    Command(
        ("console",),
        "consoles:console",
        "open a node's console",
        (_CLUSTER, _NODE),
        (
            Option(("--link",), "print its address only"),
            Option(("--serial",), "the serial console, in this terminal; Ctrl-] leaves it"),
        ),
    ),
    Command(("node", "info"), "clusters:node_info", "all that is known of a node", (_CLUSTER, _NODE)),
    Command(
        ("node", "rename"),
        "clusters:rename",
        "give computes other names, all at once",
        (
            _CLUSTER,
            Argument("old", "their names, such as vm-[0-1]", kind="node"),
            Argument("new", "as many new names, such as n[0-1]"),
        ),
    ),
    Command(("iso", "list"), "images:show_images", "the images for CD drives"),
    Command(
        ("iso", "upload"),
        "images:upload",
        "upload an image",
        (Argument("path", "an ISO file", kind="file"),),
        (
            _OLD_NAME,
            Option(("--project",), "for the members of a project (default: yours, if it is one)", "NAME"),
        ),
    ),
    Command(
        ("iso", "attach"),
        "images:attach",
        "put an image into a drive; the next power-on sees it",
        (Argument("image", "an image's name, or its number in the list", kind="image"), _CLUSTER, _NODES),
    ),
    Command(
        ("iso", "detach"), "images:detach", "empty a drive; the next power-on sees it", (_CLUSTER, _NODES)
    ),
    *(
        Command(
            ("reservation", word),
            "computesets:reservation",
            "not offered by this server",
            (Argument("rest", "", True),),
        )
        for word in ("list", "create", "update", "delete")
    ),
    Command(
        ("operation", "list"),
        "operations:show_all",
        "what was asked for, and what became of it",
        (),
        (Option(("--state",), "queued, running, succeeded, failed or cancelled", "STATE"),),
    ),
    *(
        Command(("operation", word), f"operations:{function}", text, (Argument("operation", "its id"),))
        for word, function, text in (
            ("show", "show", "one operation"),
            ("wait", "wait", "wait until an operation is done"),
            ("cancel", "cancel", "cancel an operation that is queued"),
        )
    ),
    Command(
        ("events",),
        "operations:events",
        "what happened in the last hour",
        (),
        (
            Option(("--follow",), "go on with what happens, until Ctrl-C"),
            Option(("--cluster",), "of one cluster", "NAME", kind="cluster"),
            Option(("--types",), "of these types, such as set.state,node.power", "TYPES"),
        ),
    ),
    Command(
        ("token", "create"),
        "operations:token_create",
        "make a token, for example for a script",
        (),
        (
            Option(
                ("--scopes",), "what it may do, such as read,power (default: all that yours may)", "SCOPES"
            ),
            Option(("--projects",), "only for these projects", "NAMES"),
            Option(("--days",), "it expires after so many days", "N"),
            Option(("--note",), "what it is for", "TEXT"),
        ),
    ),
    Command(("token", "list"), "operations:token_list", "your tokens"),
    Command(("token", "revoke"), "operations:token_revoke", "end a token", (Argument("token", "its id"),)),
    Command(("cache", "show"), "settings:cache_show", "what is kept of answers"),
    Command(("cache", "clear"), "settings:cache_clear", "forget the answers of this server"),
    Command(
        ("export-nodes",),
        "clusters:export_nodes",
        "write vcnet_CLUSTER.txt and vcnodes_CLUSTER.txt for the frontend's set-up",
        (_CLUSTER,),
        (
            Option(("--subnet",), "the private network (default: 10.0.0.0/24)", "NETWORK"),
            Option(("--directory",), "where they are written (default: here)", "FOLDER", kind="file"),
        ),
    ),
    Command(("shell",), "shell:shell", "type commands without `comet`, until exit"),
    Command(
        ("completion",),
        "completion:script",
        "print the completion for a shell",
        (Argument("shell", "bash or zsh", choices=("bash", "zsh")),),
    ),
)

SYNONYMS = {"image": "iso"}
"""First words of the slides, and what they are here."""
