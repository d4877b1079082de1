"""One host during one command: its connection and its agent, from the first request to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable

import rocks
from rocks.core import dry_run
from rocks.core.errors import BusyError, HostError, IncoherentError, RocksError, StateError
from rocks.core.version import is_packaged
from rocks.fleet.agent_line import AgentLine, AnsweringError, NoAgentError
from rocks.fleet.connection import Connection, FleetSettings, HostAddress
from rocks.fleet.wire.calls import reply_deadline_seconds
from rocks.fleet.wire.codec import Reply, Request
from rocks.fleet.wire.envelope import (
    AGENT_FOLDER,
    VersionError,
    agent_archive_name,
    read_reply,
    write_request,
)
from rocks.fleet.wire.errors import at_host


class Session:
    """Sends requests to one host, one after the other; requests of several threads wait for each other."""

    def __init__(
        self, address: HostAddress, settings: FleetSettings, connect: Callable[[], Connection]
    ) -> None:
        self.address = address
        self._settings = settings
        self._connect = connect
        self._connection: Connection | None = None
        self._agent: AgentLine | None = None
        self._warm_up_error: RocksError | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Connect and start the agent for the next request; an error is raised by that request."""
        with self._lock:
            try:
                self._ready_agent()
            except RocksError as error:
                self._warm_up_error = error

    def ask(self, request: Request[Reply]) -> Reply:
        """The host's reply. Raises the error that the agent reports, or HostError without a valid reply.

        StateError for an agent of another version, with the command line that upgrades it. In a dry run the host is
        asked for nothing but facts; see `rocks.fleet.dry_requests`.
        """
        if dry_run.is_on():
            from rocks.fleet.dry_requests import ask_in_dry_run

            return ask_in_dry_run(self.address.name, request, self._ask)
        return self._ask(request)

    def _ask(self, request: Request[Reply]) -> Reply:
        deadline_seconds = reply_deadline_seconds(request)
        if not self._lock.acquire(timeout=deadline_seconds):
            raise BusyError(f"host {self.address.name} has not answered an earlier request")
        try:
            answer = self._exchange(request, deadline_seconds)
        except RocksError:
            self._forget_agent()
            raise
        finally:
            self._lock.release()
        if not isinstance(answer, RocksError):
            return answer
        if isinstance(answer, HostError):
            answer = AnsweringError(str(answer), code=answer.code)
        raise at_host(self.address.name, answer)

    def close(self) -> None:
        """Close agent and connection; those that another thread opens just now, when they are open."""
        self._is_closed = True
        self._forget_agent()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _exchange(self, request: Request[Reply], deadline_seconds: float) -> Reply | RocksError:
        try:
            agent = self._ready_agent()
        except RocksError as error:
            error.nothing_done = True
            if isinstance(error, NoAgentError):
                raise self._without_agent(error) from None
            raise
        try:
            line = agent.ask(write_request(request), deadline_seconds)
            return read_reply(line, request)
        except VersionError as error:
            text = (
                f"the agent on host {self.address.name} is version {error.theirs}, this system is version "
                f"{rocks.__version__}: {self._install_line()}"
            )
            older = StateError(text)
            older.nothing_done = True
            raise older from None
        except NoAgentError as error:
            raise self._without_agent(error) from None
        except IncoherentError as error:
            raise AnsweringError(
                f"the agent on host {self.address.name} sent invalid data: {error}"
            ) from None

    def _without_agent(self, error: NoAgentError) -> AnsweringError:
        found = AnsweringError(f"{error}: {self._install_line()}")
        found.nothing_done = True
        return found

    def _install_line(self) -> str:
        login = ""
        if not self.address.is_local:
            login = f"ssh -p {self.address.port} {self._settings.user}@{self.address.address} "
        if is_packaged():
            return (
                f"install the matching package from the site's repository with `{login}apt-get install rocks-agent` "
                f"(Debian) or `{login}dnf install rocks-agent` (RPM)"
            )
        archive = f"dist/{agent_archive_name()}"
        unpack = f"mkdir -p {AGENT_FOLDER} && tar -xzf - -C {AGENT_FOLDER}"
        if login:
            unpack = f"{login}'{unpack}'"
        return f"`make agent` builds the matching version; install it with `{unpack} < {archive}`"

    def _ready_agent(self) -> AgentLine:
        error, self._warm_up_error = self._warm_up_error, None
        if error is not None:
            raise error
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        agent = self._agent
        if agent is None:
            agent = self._agent = connection.open_agent()
        if self._is_closed:
            # the host was slow, and `close` found nothing to close: a service would collect such connections
            agent.close()
            connection.close()
            raise HostError(f"host {self.address.name} was ready only after its command had ended")
        return agent

    def _forget_agent(self) -> None:
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()
