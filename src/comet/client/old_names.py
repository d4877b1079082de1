"""The old client's Python names over `Client`, for scripts that import them."""

from __future__ import annotations

from typing import Any, Callable, Optional, TypeVar

from comet.client.client import Client, logoff, logon
from comet.client.hostlists import expand_hostlist

T = TypeVar("T")


def _asked(question: Callable[[Client], T], token: Optional[str] = None) -> T:
    """The configured server's answer."""
    with Client(token=token) as client:
        return question(client)


class Cluster:
    """What the old class of this name did, with the configured server."""

    @staticmethod
    def simple_list(id: Optional[str] = None) -> list[dict[str, Any]]:
        return _asked(lambda it: it.simple_list(id))

    @staticmethod
    def list(id: Optional[str] = None) -> list[dict[str, Any]]:
        return _asked(lambda it: it.view(id))

    @staticmethod
    def computeset(
        id: Optional[int] = None,
        cluster: Optional[str] = None,
        state: str = "running",
        allocation: Optional[str] = None,
    ) -> Any:
        if id is not None:
            return Comet.get_computeset(id)
        return _asked(lambda it: it.computesets(state, cluster, allocation))

    @staticmethod
    def computeset_start(
        clusterid: str,
        computenodeids: Optional[str] = None,
        numnodes: Optional[int] = None,
        allocation: Optional[str] = None,
        reservation: Optional[str] = None,
        walltime: str = "2d",
    ) -> int:
        given = clusterid, computenodeids, numnodes, allocation, walltime, reservation
        return _asked(lambda it: it.start(*given)).computeset

    @staticmethod
    def computeset_terminate(id: int) -> None:
        _asked(lambda it: it.terminate(int(id)))

    @staticmethod
    def power(clusterid: str, subject: str, param: Optional[str] = None, action: str = "on") -> None:
        """`subject`: FE for the frontend, RESOURCE for nodes in `param`, COMPUTESET for its number there."""
        nodes = None if subject in ("FE", "COMPUTESET") else param
        number = int(param or 0) if subject == "COMPUTESET" else None
        _asked(lambda it: it.power(clusterid, action, nodes, number))

    @staticmethod
    def attach_iso(image: str, clusterid: str, nodeids: Optional[str] = None) -> None:
        _asked(lambda it: it.attach_iso(clusterid, image, nodeids))

    @staticmethod
    def detach_iso(clusterid: str, nodeids: Optional[str] = None) -> None:
        _asked(lambda it: it.detach_iso(clusterid, nodeids))

    @staticmethod
    def rename_node(clusterid: str, old: str, new: str) -> None:
        pairs = dict(zip(expand_hostlist(old), expand_hostlist(new)))
        _asked(lambda it: it.rename(clusterid, pairs))

    @staticmethod
    def node_info(clusterid: str, nodeid: Optional[str] = None) -> Any:
        return _asked(lambda it: it.node_info(clusterid, nodeid))


class Comet:
    """What the old class of this name did, with the configured server."""

    token = ""

    @staticmethod
    def logon(username: str, password: str) -> str:
        """A token, which is also kept for `logoff`."""
        Comet.token = _asked(lambda it: logon(it.endpoint._replace(username=username), password))
        return Comet.token

    @staticmethod
    def logoff() -> None:
        """End the token of `logon`, if there is one."""
        if Comet.token:
            _asked(lambda it: logoff(it.endpoint), Comet.token)
            Comet.token = ""

    @staticmethod
    def get_computeset(id: Optional[int] = None, state: str = "running") -> Any:
        return _asked(lambda it: it.computesets(state) if id is None else it.computeset(int(id)))

    @staticmethod
    def list_iso() -> list[str]:
        return _asked(lambda it: it.isos())

    @staticmethod
    def upload_iso(isoname: str, path: str) -> str:
        return _asked(lambda it: it.upload_iso(path, isoname).target)

    @staticmethod
    def console_url(clusterid: str, nodeid: Optional[str] = None) -> str:
        return _asked(lambda it: it.console(clusterid, nodeid).page_url)

    @staticmethod
    def get_apikey() -> str:
        """The configured token, which replaces the old key and secret."""
        return _asked(lambda it: it.endpoint.token)
