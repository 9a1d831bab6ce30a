"""From a plan to a connection that is logged in, and to the first session on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from trioshell._errors import TransportError
from trioshell.transports._said import quoted
from trioshell.transports._ssh_agent import Offer
from trioshell.transports._ssh_client import Client
from trioshell.transports._ssh_lean import make_lean
from trioshell.transports._ssh_link_session import LinkSession
from trioshell.transports._ssh_plan import ALGORITHMS, Plan
from trioshell.transports._ssh_socket import SocketTransport

if TYPE_CHECKING:
    from trioshell.transports._ssh_link import Link

# The fastest cipher with an authentication of its own on any machine of this century; the
# others follow in asyncssh's order.
_CIPHERS: Final = "^aes128-gcm@openssh.com"


# asyncssh's options that take patterns; its attributes of the same names hold what they fit.
_EXPANDED: Final = (
    "kex_algs",
    "encryption_algs",
    "mac_algs",
    "compression_algs",
    "signature_algs",
)


class Dropped(TransportError):
    """The server has closed the connection before the login: perhaps it has too many."""


class Tunnel:
    """What asyncssh takes for a way to the server: hands it our socket."""

    def __init__(self, transport: SocketTransport) -> None:
        self._transport = transport

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int
    ) -> tuple[None, Any]:
        """Called by asyncssh once, when it is ready to speak."""
        connection = factory()
        self._transport.start(connection)
        return None, connection


class Login:
    """One attempt to log in, and to open a session over the new connection.

    Attributes:
        link: the connection, once it is logged in.
        session: the session, once it is being opened.
    """

    def __init__(
        self,
        plan: Plan,
        client: Client,
        offer: Offer,
        make_link: Callable[[Any, SocketTransport | None], Link],
        make_session: Callable[[Link], LinkSession] | None,
    ) -> None:
        self.link: Link | None = None
        self.session: LinkSession | None = None
        self._plan = plan
        self._client = client
        self._offer = offer
        self._make_link = make_link
        self._make_session = make_session

    async def over_socket(self, transport: SocketTransport) -> None:
        """Log in over a connected socket, for asyncio."""
        try:
            await self._run(Tunnel(transport), transport)
        finally:
            if self.link is None:
                transport.abort()

    async def over_link(self, link: Link) -> None:
        """Log in over a jump host, for asyncio."""
        await self._run(link.connection, None)

    async def _run(self, tunnel: Any, transport: SocketTransport | None) -> None:
        connection = await asyncssh.connect(
            self._plan.host, self._plan.port, tunnel=tunnel, config=None, **self._options()
        )
        make_lean(connection)
        self.link = self._make_link(connection, transport)
        if self._make_session is not None:
            self.session = self._make_session(self.link)
            await self.session.start()

    def _options(self) -> dict[str, Any]:
        plan = self._plan
        options = {
            **_asyncssh_options(plan.settings, tuple(plan.keywords.items())),
            "username": plan.user,
            "client_factory": lambda: self._client,
            "client_keys": self._offer.keys or None,
            "known_hosts": self._client.trusted if plan.known_hosts is not None else None,
            "host_key_alias": plan.alias,
            "agent_forwarding": plan.agent or False if plan.forward_agent else False,
        }
        if plan.known_hosts is not None:
            preferred = self._client.prefer_host_keys()
            if preferred is not None:
                options.setdefault("server_host_key_algs", preferred)
        if plan.via is not None:
            # There is no socket of its own whose silence a link could see: asyncssh has to ask,
            # and gives up at twice the interval.
            options |= {"keepalive_interval": plan.keepalive, "keepalive_count_max": 1}
        if options["gss_auth"] or options["gss_kex"]:
            options["gss_host"] = plan.host
        return options

    def undo(self) -> None:
        """Close what has been opened."""
        if self.link is not None:
            if self.session is not None:
                self.link.release(self.session)
            if not self.link.busy:  # somebody else may have found it already
                self.link.close()

    def describe(self, exc: BaseException) -> TransportError:
        """What its failure means, for a person who can do something about it."""
        plan, client = self._plan, self._client
        where = plan.where
        if isinstance(exc, TransportError):
            return exc
        if isinstance(exc, asyncssh.HostKeyNotVerifiable):
            return TransportError(client.describe_refusal(str(exc)))
        if isinstance(exc, asyncssh.PermissionDenied):
            tried = [*self._offer.tried, *(["the password"] if client.gave_password else [])]
            what = f"tried: {', '.join(tried)}" if tried else "there was nothing to try"
            return TransportError(f"{where} refused the login of user {plan.user!r} ({what})")
        if isinstance(exc, asyncssh.ChannelOpenError) and plan.via is not None:
            return TransportError(f"jump host {plan.via.where} can't reach {where}: {quoted(exc)}")
        if isinstance(exc, (asyncssh.ConnectionLost, OSError)):
            what = f"{where} closed the connection during {client.phase}"
            said = f" ({exc.strerror})" if isinstance(exc, OSError) and exc.strerror else ""
            early = client.phase in ("the server's greeting", "the key exchange")
            return (Dropped if early else TransportError)(what + said)
        if isinstance(exc, asyncssh.Error):
            return TransportError(f"{where} failed during {client.phase}: {quoted(exc)}")
        return TransportError(f"{where} can't be logged in to: {quoted(exc)}")


@lru_cache(64)
def _asyncssh_options(
    settings: tuple[tuple[str, Any], ...], keywords: tuple[tuple[str, str], ...]
) -> dict[str, Any]:
    """What is the same for all hosts with these settings, in asyncssh's words.

    Raises:
        ValueError: a keyword names no algorithm that asyncssh has.
    """
    options: dict[str, Any] = {
        "agent_path": None,  # its keys are among client_keys, asked for once for all
        "gss_host": None,
        "host_based_auth": False,
        "login_timeout": 0,
        "keepalive_interval": 0,
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],
        "encryption_algs": _CIPHERS,
        **dict(settings),
    }
    places = dict(keywords)
    for keyword, name in ALGORITHMS.items():
        if keyword in places:
            options[name] = _supported(name, options[name], places[keyword])
    for name in _EXPANDED:
        if isinstance(options.get(name), str):
            # Patterns, expanded here and not for each connection anew.
            choice = {name: options[name]}
            made = asyncssh.SSHClientConnectionOptions(config=None, client_keys=None, **choice)
            options[name] = [algorithm.decode() for algorithm in getattr(made, name)]
    return options


def _supported(name: str, wanted: str, place: str) -> str:
    """Those of the algorithms that asyncssh has too; ssh's list may well be longer.

    Raises:
        ValueError: there is none.
    """
    prefix = wanted[0] if wanted[:1] in ("^", "+", "-") else ""
    found = []
    for pattern in wanted[len(prefix) :].split(","):
        choice: dict[str, Any] = {name: prefix + pattern}
        try:
            asyncssh.SSHClientConnectionOptions(config=None, client_keys=None, **choice)
            found.append(pattern)
        except ValueError:
            continue
    if not found:
        if prefix in ("-", "+", "^"):
            return "default"
        raise ValueError(f"{place}: none of the algorithms in {wanted!r} is known here")
    return prefix + ",".join(found)
