"""What owners may do with the power of a node: rows 7 to 9, 11, 12 and 15 to 19 of Table 1. Pure.

An action is a row here: its route, its work, and the command that the executor permits follow from the row. Besides,
`comet` has a word for it (`comet.client.client`, `comet.cli.power`), and `rocks stop host vm` an action.
"""

from typing import NamedTuple


class PowerAction(NamedTuple):
    """`leaves_on`: whether the node is on afterwards; None: as before."""

    summary: str
    leaves_on: bool | None


POWER_ACTIONS = {
    "poweron": PowerAction("Power a node on", True),
    "poweroff": PowerAction("Power a node off, at once", False),
    "reboot": PowerAction("Ask the node's system to reboot", None),
    "reset": PowerAction("Reset a node, at once", None),
    "shutdown": PowerAction("Ask the node's system to shut down", False),
}
"""Kind of an operation → the action."""

STOP_ACTIONS = tuple(name for name in POWER_ACTIONS if name != "poweron")
"""The values of `rocks stop host vm action=`."""

RESTARTS = tuple(name for name, action in POWER_ACTIONS.items() if action.leaves_on is None)
"""Actions after which a node is on as before. Nothing shows afterwards whether one was done, so none is repeated."""
