"""Where a webhook may go: to public addresses, unless the operator says otherwise.

An organizer chooses the URL, and we are the ones who ask: without a check it would lead into
the operator's own network. What is checked is the addresses, not the name, and what was
checked is what is connected to: the name is looked up once for each attempt.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

import httpx
from msgspec import Struct

from engine.back_office_limits import (
    COURIER_ADDRESSES_MAX,
    COURIER_RESOLVE_SECONDS_MAX,
    ENDPOINT_URL_LENGTH_MAX,
)

#: Returns the addresses of a name. Raises OSError.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

#: A name as it stands in the DNS, or an address.
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_.])?|[0-9a-f:.]{2,45}")
#: Ports below are other services' own.
_HIGH_PORTS = range(1_024, 65_536)
_STANDARD_PORTS = {"https": 443, "http": 80}

_LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
#: Addresses of closed networks, which an operator may open.
_PRIVATE = (
    *_LOOPBACK,
    *map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")),
    ip_network("100.64.0.0/10"),  # shared by the customers of a provider
    ip_network("fc00::/7"),
)
#: Where clouds tell a machine its own secrets, outside of the networks below or in a private one.
_METADATA = frozenset(
    map(ip_address, ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254"))
)
#: What is not public of IPv4, private networks left out (IANA's registry of special purposes).
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "169.254.0.0/16",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
#: Of IPv6 everything is special but for the one network that is handed out, and in that:
_HANDED_OUT = IPv6Network("2000::/3")
_SPECIAL_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
#: Networks that carry an address of IPv4, and how far right it ends.
_CARRIERS = (
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)

_Address = IPv4Address | IPv6Address


class TargetRefused(Exception):
    """A webhook may not, or cannot, go there. Argument: why, for the organizer."""


class Target(Struct, frozen=True):
    """A checked place: `url` is only ever asked for at one of `addresses`."""

    url: httpx.URL
    addresses: tuple[str, ...]


class Names:
    """Looks names up with the system's resolver, in threads of its own.

    A name whose servers do not answer keeps a thread for a while after nobody waits any
    more; other work of the process must not stand behind it.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "names")

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the addresses of a name, the preferred one first. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._pool, _look_up, host, port)
        return list(dict.fromkeys(found))


def _look_up(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Targets:
    """Checks where webhooks may go.

    Args:
        resolve: see `Resolve`.
        private: whether they may go to private addresses, and to loopback without TLS.
            Those of link-local services and of clouds' metadata stay closed.
    """

    def __init__(self, resolve: Resolve, *, private: bool) -> None:
        self._resolve = resolve
        self._private = private

    async def check(self, url: str) -> Target:
        """Return where a URL leads now.

        Raises:
            TargetRefused: not to where webhooks may go.
        """
        parsed = _parsed(url)
        addresses = await self._addresses(parsed)
        for address in addresses:
            if not self._is_allowed(address):
                raise TargetRefused("leads to an address that is not public")
        if parsed.scheme == "http" and not (self._private and _all_loopback(addresses)):
            raise TargetRefused("must begin with https://")
        return Target(parsed, tuple(map(str, addresses[:COURIER_ADDRESSES_MAX])))

    async def _addresses(self, url: httpx.URL) -> list[_Address]:
        port = url.port or _STANDARD_PORTS[url.scheme]
        try:
            async with asyncio.timeout(COURIER_RESOLVE_SECONDS_MAX):
                found = await self._resolve(url.raw_host.decode(), port)
            if not found:
                raise TargetRefused("has a host without an address")
            return [ip_address(address) for address in found]
        except TimeoutError as error:
            raise TargetRefused("has a host that could not be looked up in time") from error
        except (OSError, UnicodeError) as error:
            raise TargetRefused("has a host that cannot be found") from error

    def _is_allowed(self, address: _Address) -> bool:
        """Tell whether an address, or the one that it carries, is public or opened."""
        if isinstance(address, IPv6Address):
            address = _carried(address)
        if address in _METADATA:
            return False
        if any(address in network for network in _PRIVATE):
            return self._private
        if isinstance(address, IPv4Address):
            return not any(address in network for network in _SPECIAL)
        return address in _HANDED_OUT and not any(address in network for network in _SPECIAL_6)


def _parsed(url: str) -> httpx.URL:
    """Return a URL of a form that webhooks may have. Raises TargetRefused."""
    if len(url) > ENDPOINT_URL_LENGTH_MAX:
        raise TargetRefused(f"must not have more than {ENDPOINT_URL_LENGTH_MAX} characters")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise TargetRefused("is not a URL") from error
    if parsed.scheme not in _STANDARD_PORTS:
        raise TargetRefused("must begin with https://")
    if parsed.userinfo:
        raise TargetRefused("must not have a user or a password")
    if "#" in url:
        raise TargetRefused("must not have a fragment: it would not be sent")
    if _HOST.fullmatch(parsed.raw_host.decode()) is None:
        raise TargetRefused("has no host that can be looked up")
    if parsed.port is not None and parsed.port not in _HIGH_PORTS:
        # httpx leaves out a port that is the standard one.
        raise TargetRefused("must have the standard port, or one from 1024 to 65535")
    return parsed


def _all_loopback(addresses: Sequence[_Address]) -> bool:
    return all(any(address in network for network in _LOOPBACK) for address in addresses)


def _carried(address: IPv6Address) -> _Address:
    """Return the address of IPv4 that one of IPv6 leads to, or itself."""
    for network, shift in _CARRIERS:
        if address in network:
            return IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
    return address
