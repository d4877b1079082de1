"""Every command of `comet`: its words, who runs it, what it takes. The parser and the completion are made from this.

Nothing is imported here but what starts in a millisecond: completion must answer within 50.
"""

from __future__ import annotations

from typing import NamedTuple


class Parameter(NamedTuple):
    """An option, or an argument (its name has no dashes). An option without a `value`, its name in the help, is a flag.

    `kind` says what completion offers: cluster, node, image, endpoint, file, or nothing.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    kind: str = ""
    choices: tuple[str, ...] = ()
    optional: bool = False


class Command(NamedTuple):
    """A command; `handler` is `module:function` below comet.cli."""

    path: tuple[str, ...]
    handler: str
    help: str
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]


_FORMATS = ("table", "json", "yaml", "csv", "rest")
_SORT_KEYS = (
    *("name", "state", "computeset", "allocation", "admin_state", "mac", "ip", "cluster"),
    *("kind", "type", "cpus", "ram", "disk"),
)
_SET_STATES = (
    *("created", "submitted", "running", "ending", "completed", "cancelled", "failed"),
    *("active", "all"),
)

_OPERATION_STATES = ("queued", "running", "succeeded", "failed", "cancelled")


GLOBAL = (
    Parameter(("--endpoint",), "a configured server's name, or an address", "NAME", "endpoint"),
    Parameter(
        ("--format", "--output", "-o"), "how data are printed (default: table)", "FORMAT", choices=_FORMATS
    ),
    Parameter(("--legacy",), "json and rest as the old client printed them"),
    Parameter(
        ("--wait",), "wait until it has happened; --wait=SECONDS waits no longer (default: 3600)", "SECONDS"
    ),
    Parameter(("--no-wait",), "return when the server has accepted it (default)"),
    Parameter(("--yes", "-y"), "do not ask whether to go on: the answer is yes"),
    Parameter(("--cached",), "show what was seen last; do not ask the server"),
    Parameter(("--quiet", "-q"), "no messages but errors"),
    Parameter(("--ca",), "the CA certificate of the server's site", "FILE", "file"),
    Parameter(("--config",), "another configuration file", "FILE", "file"),
    Parameter(("--timeout",), "seconds to wait for an answer (default: 30)", "SECONDS"),
)
"""The options of every command."""

_OWN = (
    Parameter(("--url",), "the server's address, such as https://nucleus.example.org/nucleus", "URL"),
    Parameter(("--user",), "your user name there", "NAME"),
    Parameter(
        ("--token-file",), "a file with a token, - for standard input, instead of a password", "FILE", "file"
    ),
    Parameter(("--api-version",), "the version of the interface (default: v1)", "VERSION"),
    Parameter(("--concise",), "fewer columns"),
    Parameter(("--status",), "names and states only"),
    Parameter(("--sort",), "order by this column", "KEY", choices=_SORT_KEYS),
    Parameter(("--watch",), "print it again every two seconds, until Ctrl-C"),
    Parameter(("--columns",), "these columns, such as name,state,ip", "NAMES"),
    Parameter(("--cluster",), "only those of a cluster", "NAME", "cluster"),
    Parameter(("--dry-run",), "print cost and expected start; start nothing"),
    Parameter(("--count", "-n"), "any N free computes instead of named ones", "N"),
    Parameter(("--allocation",), "the allocation that is charged", "NAME"),
    Parameter(
        ("--walltime", "-t"),
        "the longest time that it runs: a number with m, h, d or w, or as Slurm's, 1-12:00:00 (default: 2d)",
        "TIME",
    ),
    Parameter(("--reservation",), "within this reservation; a server that has none refuses it", "NAME"),
    Parameter(("--begin",), "when it begins, such as 2026-12-01T10:00, in local time", "TIME"),
    Parameter(("--end",), "when it ends; the cluster is stopped ten minutes earlier", "TIME"),
    Parameter(("--from",), "only of computesets that ended then or later, such as 2026-12-01", "TIME"),
    Parameter(("--to",), "only of computesets that ended earlier", "TIME"),
    Parameter(
        ("--by",), "each day (UTC) in rows of its own; the last 31 without --from", "UNIT", choices=("day",)
    ),
    Parameter(("--repeat",), "the same time again; needs --until", "EVERY", choices=("daily", "weekly")),
    Parameter(("--until",), "when it begins no more", "TIME"),
    Parameter(("--cpus",), "CPUs of all computes", "N"),
    Parameter(("--memory",), "memory of the whole cluster in GB", "GB"),
    Parameter(("--ent",), "with an interface on the network between sites"),
    Parameter(("--key",), "your public SSH key", "FILE", "file"),
    Parameter(("--title",), "a title, for the list", "TEXT"),
    Parameter(("--description",), "what it is for", "TEXT"),
    Parameter(("--link",), "print its address only"),
    Parameter(("--serial",), "the serial console, in this terminal; Ctrl-] leaves it"),
    Parameter(("--isoname", "--imagename"), "another name than the file's", "NAME"),
    Parameter(("--project",), "whose members have the image (needed if you are in several projects)", "NAME"),
    Parameter(("--image",), "an image that the site offers for disks (default: the one each has)", "NAME"),
    Parameter(("--state",), "only those in a state", "STATE", choices=_OPERATION_STATES),
    Parameter(("--follow",), "go on with what happens, until Ctrl-C"),
    Parameter(("--types",), "of these types, such as set.state,node.power", "TYPES"),
    Parameter(
        ("--scopes",),
        "what it may do: of read, power, computeset, console, image, rename, cluster:reinstall, cluster:destroy, with "
        "commas (default: what yours may, without the last two)",
        "SCOPES",
    ),
    Parameter(("--projects",), "only for these projects", "NAMES"),
    Parameter(("--days",), "it expires after so many days, or with yours (default: 90)", "N"),
    Parameter(("--note",), "what it is for", "TEXT"),
    Parameter(("--group",), "the name of this launch (default: the launcher's)", "NAME"),
    Parameter(("--computeset",), "this computeset, which is there already (default: a new one)", "SET"),
    Parameter(("--subnet",), "the private network (default: 10.0.0.0/24)", "NETWORK"),
    Parameter(("--directory",), "where they are written (default: here)", "FOLDER", "file"),
)
_SET_STATE = Parameter(
    ("--state",),
    "those in a state (default: running; active means all that have not ended)",
    "STATE",
    choices=_SET_STATES,
)
_CLUSTER_SORT = Parameter(
    ("--sort",), "order by this column", "KEY", choices=("name", "project", "count", "state")
)
_NODE_STATE = Parameter(
    ("--state",), "only nodes in a state, such as active, or whose power is on or off", "STATE"
)
_NODES = Parameter(("--count", "-n"), "so many computes (default: nodes of its launcher.toml)", "N")
_OF = Parameter(("--cluster",), "the cluster of the computes (needed if you have several)", "NAME", "cluster")
_CHARGED = Parameter(("--allocation",), "only those of an allocation", "NAME")
_OPTIONS = {
    **{it.names[0]: it for it in _OWN},
    **{
        "--set-state": _SET_STATE,
        "--node-state": _NODE_STATE,
        "--set-allocation": _CHARGED,
        "--cluster-sort": _CLUSTER_SORT,
        "--launch-count": _NODES,
        "--launch-cluster": _OF,
    },
}
_START = "--count --allocation --walltime --reservation"

_ARGUMENTS = {
    "CLUSTER": ("cluster", "the cluster's name", "cluster"),
    "[CLUSTER]": (
        "cluster",
        "the cluster's name, or a pattern such as 'v*' (default: all of yours)",
        "cluster",
    ),
    "{CLUSTER}": ("cluster", "the cluster's name (default: the only one)", "cluster"),
    "[NODE]": ("node", "a compute (default: the frontend)", "node"),
    "[NODES]": ("nodes", "computes such as vm-[0-3] (default: the frontend)", "node"),
    "[COMPUTES]": ("nodes", "computes such as vm-[0-3]; they, or --count, are needed", "node"),
    "[NODES|SET]": (
        "nodes",
        "computes such as vm-[0-3], or a computeset's number (default: the frontend)",
        "node",
    ),
    "NODE": ("node", "a compute's name, or a frontend's, which is the cluster's", "cluster"),
    "ORIGINAL": ("original", "the compute whose disk is cloned", "node"),
    "COPIES": ("nodes", "the computes that get clones of it, such as vm-[1-3]", "node"),
    "SET": ("computeset", "the computeset's number", "set"),
    "OTHER": ("other", "the number of the computeset that is merged into it", "set"),
    "TIME": ("time", "+6h: so much longer; 12h: in all, from its start", ""),
    "[SET]": ("computeset", "the computeset's number (default: those of --state)", "set"),
    "[ENDPOINT]": ("name", "the name of the server to ask from now on (default: list them)", "endpoint"),
    "OLD": ("old", "their names, such as vm-[0-1]", "node"),
    "NEW": ("new", "as many new names, such as n[0-1]", ""),
    "FILE": ("path", "an ISO file", "file"),
    "LAUNCHER": ("launcher", "a folder with a launcher.toml", "file"),
    "IMAGE": ("image", "an image's name, or its number in the list, from 1", "image"),
    "SITE": ("site", "the site's name", ""),
    "VC": ("vc", "the cluster image, as the site's repository calls it", ""),
    "RESERVATION": ("reservation", "the reservation's number", ""),
    "OPERATION": ("operation", "the operation's id, as comet operation list prints it", ""),
    "TOKEN": ("token", "the token's id, as comet token list prints it", ""),
    "SHELL": ("shell", "bash, zsh or fish", ""),
}

_TABLE = (
    ("init", "settings:initialise", "write the configuration: server, user, token or password",
     "--url --user --token-file --api-version"),
    ("active [ENDPOINT]", "settings:active", "show or choose the server that is asked", ""),
    ("acknowledge", "settings:acknowledge", "read what an owner is responsible for, and acknowledge it", ""),
    ("ll [CLUSTER]", "clusters:summary_rows", "your clusters, one line each", "--cluster-sort --watch"),
    ("cluster [CLUSTER]", "clusters:nodes", "the nodes of your clusters",
     "--concise --status --columns --node-state --sort --watch"),
    ("ssh NODE", "clusters:ssh", "log in to a frontend, or through it to a compute; as another user: USER@NODE", ""),
    ("top {CLUSTER}", "clusters:top", "CPU, memory, network and disk use of the nodes now, the busiest CPUs first", ""),
    ("computeset [SET]", "computesets:show_sets", "the computesets that run, those of another state, or one",
     "--set-allocation --cluster --set-state"),
    ("start {CLUSTER} [COMPUTES]", "computesets:start", "start computes together, as a computeset",
     f"{_START} --dry-run"),
    ("extend SET TIME", "computesets:extend",
     "have a computeset run longer, if the site permits it; it is charged as long as it runs", ""),
    ("merge SET OTHER", "computesets:merge",
     "merge another computeset of the cluster into this one; they are printed, extended and ended as one", ""),
    ("terminate SET", "computesets:terminate", "end a computeset; its disks go back to the NAS", ""),
    ("launch LAUNCHER", "launch:launch",
     "run a command on a computeset of its own, fetch what it leaves, and end the computeset",
     "--group --launch-count --launch-cluster --allocation --computeset"),
    ("usage", "computesets:usage",
     "what your projects' computesets were charged, by allocation, when they had ended", "--from --to --by"),
    ("power on {CLUSTER} [NODES]", "power:power",
     "switch the frontend on, or computes of a running computeset; free computes start as a new one", _START),
    ("power off CLUSTER [NODES|SET]", "power:power",
     "switch off at once, without a shutdown; a computeset named by its number ends", ""),
    ("power shutdown CLUSTER [NODES|SET]", "power:power",
     "ask the operating system to shut down; a computeset named by its number ends", ""),
    ("power reboot CLUSTER [NODES|SET]", "power:power", "ask the operating system to reboot", ""),
    ("power reset CLUSTER [NODES|SET]", "power:power", "restart at once, without a shutdown", ""),
    ("console {CLUSTER} [NODE]", "consoles:console", "open a node's console: its screen, or its serial line",
     "--link --serial"),
    ("node info {CLUSTER} [NODE]", "clusters:node_info", "all that is known of a node", ""),
    ("node rename CLUSTER OLD NEW", "clusters:rename", "give computes other names, all at once", ""),
    ("reinstall CLUSTER [NODES]", "power:reinstall",
     "give nodes that are off fresh disks, made from an image; what is on the old ones is lost", "--image"),
    ("clone CLUSTER ORIGINAL COPIES", "power:clone",
     "give computes that are off clones of another one's disk; what is on theirs is lost", ""),
    ("iso list", "images:show_images", "the images for CD drives", ""),
    ("iso upload FILE", "images:upload", "upload an ISO file for your project", "--isoname --project"),
    ("iso delete IMAGE", "images:delete", "delete an image that no machine has in its drive", ""),
    ("iso attach IMAGE CLUSTER [NODES]", "images:attach",
     "put an image into a drive; the next power-on sees it", ""),
    ("iso detach CLUSTER [NODES]", "images:detach", "empty a drive; the next power-on sees it", ""),
    ("reservation list", "reservations:show_all", "your reservations of sites, each time in a row", ""),
    ("reservation create SITE VC", "reservations:create",
     "reserve a site for a virtual cluster of PRAGMA, which runs there in that time",
     "--begin --end --repeat --until --cpus --memory --ent --key --title --description"),
    ("reservation cancel RESERVATION", "reservations:cancel", "cancel all that is left of a reservation", ""),
    ("reservation delete RESERVATION", "reservations:cancel", "the same as cancel", ""),
    ("reservation update RESERVATION", "reservations:update", "refused: a reservation does not change", ""),
    ("operation list", "operations:show_all", "the history of what was asked for, and what became of it", "--state"),
    ("operation show OPERATION", "operations:show_one", "one operation", ""),
    ("operation wait OPERATION", "operations:wait", "wait until an operation is done", ""),
    ("operation cancel OPERATION", "operations:cancel", "cancel an operation that is queued", ""),
    ("events", "operations:events", "the history of the last hour", "--follow --cluster --types"),
    ("token create", "operations:token_create", "make a token, for example for a script",
     "--scopes --projects --days --note"),
    ("token list", "operations:token_list", "your tokens", ""),
    ("token revoke TOKEN", "operations:token_revoke", "end a token", ""),
    ("cache show", "settings:cache_show", "which answers of servers are kept, for when one is away", ""),
    ("cache clear", "settings:cache_clear", "forget the answers of this server", ""),
    ("export-nodes {CLUSTER}", "clusters:export_nodes",
     "write vcnet_CLUSTER.txt and vcnodes_CLUSTER.txt for the frontend's set-up", "--subnet --directory"),
    ("shell", "shell:shell", "type commands without `comet`, until exit", ""),
    ("completion SHELL", "completion:script",
     "print the completion for a shell, for: eval \"$(comet completion bash)\"", ""),
)  # fmt: skip
"""(words and arguments, handler, help, options) of each command."""


def _argument(key: str) -> Parameter:
    name, text, kind = _ARGUMENTS[key]
    choices = ("bash", "zsh", "fish") if key == "SHELL" else ()
    return Parameter((name,), text, kind=kind, choices=choices, optional=key[0] in "[{")


def _command(usage: str, handler: str, text: str, options: str) -> Command:
    path = tuple(it for it in usage.split() if it not in _ARGUMENTS)
    arguments = tuple(_argument(it) for it in usage.split() if it in _ARGUMENTS)
    return Command(path, handler, text, arguments, tuple(_OPTIONS[it] for it in options.split()))


COMMANDS = tuple(_command(*row) for row in _TABLE)

SYNONYMS = {"image": "iso"}
"""First words of the slides, and what they are here."""
