"""The old client's Python names over `Client`, for scripts that import them (specification §9.6)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from comet.client.client import Client
from comet.client.hostlists import expand_hostlist
from comet.client.logon import logoff, logon


class Cluster:
    """What the old class of this name did, with the configured server."""

    @staticmethod
    def simple_list(id: Optional[str] = None) -> list[dict[str, Any]]:
        with Client() as client:
            return client.simple_list(id)

    @staticmethod
    def list(id: Optional[str] = None) -> list[dict[str, Any]]:
        with Client() as client:
            return client.view(id)

    @staticmethod
    def computeset(
        id: Optional[int] = None,
        cluster: Optional[str] = None,
        state: str = "running",
        allocation: Optional[str] = None,
    ) -> Any:
        with Client() as client:
            return (
                client.computesets(state, cluster, allocation) if id is None else client.computeset(int(id))
            )

    @staticmethod
    def computeset_start(
        clusterid: str,
        computenodeids: Optional[str] = None,
        numnodes: Optional[int] = None,
        allocation: Optional[str] = None,
        reservation: Optional[str] = None,
        walltime: str = "2d",
    ) -> int:
        with Client() as client:
            return client.start(
                clusterid, computenodeids, numnodes, allocation, walltime, reservation
            ).computeset

    @staticmethod
    def computeset_terminate(id: int) -> None:
        with Client() as client:
            client.terminate(int(id))

    @staticmethod
    def power(clusterid: str, subject: str, param: Optional[str] = None, action: str = "on") -> None:
        """`subject`: FE for the frontend, RESOURCE for nodes in `param`, COMPUTESET for its number there."""
        with Client() as client:
            if subject == "COMPUTESET":
                client.power(clusterid, action, computeset=int(param or 0))
            else:
                client.power(clusterid, action, None if subject == "FE" else param)

    @staticmethod
    def attach_iso(image: str, clusterid: str, nodeids: Optional[str] = None) -> None:
        with Client() as client:
            client.attach_iso(clusterid, image, nodeids)

    @staticmethod
    def detach_iso(clusterid: str, nodeids: Optional[str] = None) -> None:
        with Client() as client:
            client.detach_iso(clusterid, nodeids)

    @staticmethod
    def rename_node(clusterid: str, old: str, new: str) -> None:
        with Client() as client:
            client.rename(clusterid, dict(zip(expand_hostlist(old), expand_hostlist(new))))

    @staticmethod
    def node_info(clusterid: str, nodeid: Optional[str] = None) -> Any:
        with Client() as client:
            return client.node_info(clusterid, nodeid)


class Comet:
    """What the old class of this name did, with the configured server."""

    token = ""

    @staticmethod
    def logon(username: str, password: str) -> str:
        """A token, which is also kept for `logoff`."""
        with Client() as client:
            Comet.token = logon(replace(client.endpoint, username=username), password)
        return Comet.token

    @staticmethod
    def logoff() -> None:
        """End the token of `logon`, if there is one."""
        if Comet.token:
            with Client(token=Comet.token) as client:
                logoff(client.endpoint)
            Comet.token = ""

    @staticmethod
    def get_computeset(id: Optional[int] = None, state: str = "running") -> Any:
        with Client() as client:
            return client.computesets(state) if id is None else client.computeset(int(id))

    @staticmethod
    def list_iso() -> list[str]:
        with Client() as client:
            return client.isos()

    @staticmethod
    def upload_iso(isoname: str, path: str) -> str:
        with Client() as client:
            return client.upload_iso(path, isoname).target

    @staticmethod
    def console_url(clusterid: str, nodeid: Optional[str] = None) -> str:
        with Client() as client:
            return client.console(clusterid, nodeid).page_url

    @staticmethod
    def get_apikey() -> str:
        """The configured token, which replaces the old key and secret."""
        with Client() as client:
            return client.endpoint.token
