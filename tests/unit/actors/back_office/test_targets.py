"""Where webhooks may go: nasty URLs, nasty addresses, and names that change their mind."""

import asyncio
import random
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from actors.back_office.targets import Target, TargetRefused, Targets
from engine.back_office_limits import COURIER_ADDRESSES_MAX, ENDPOINT_URL_LENGTH_MAX

PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"
URL = "https://example.com/hook"


class Names:
    """Answers as the test says, each time the next answer; the last one for ever."""

    def __init__(self, *answers: Sequence[str] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def check(url: str = URL, *addresses: str, private: bool = False) -> Target:
    names = Names(addresses or (PUBLIC,))
    return await Targets(names, private=private).check(url)


# -- URLs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        (URL, "example.com", 443),
        ("https://EXAMPLE.com:443", "example.com", 443),
        ("https://example.com:8443/a?b=c%20d", "example.com", 8443),
        ("https://grün.example/ü", "xn--grn-ioa.example", 443),
        (f"https://{PUBLIC}/", PUBLIC, 443),
        (f"https://[{PUBLIC_6}]/", PUBLIC_6, 443),
        ("https://a_b.example.com", "a_b.example.com", 443),
    ],
)
async def test_a_public_url_is_looked_up_by_its_host(url: str, host: str, port: int):
    names = Names((PUBLIC,))
    target = await Targets(names, private=False).check(url)
    assert names.asked == [(host, port)]
    assert target.addresses == (PUBLIC,)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/", "https"),
        ("ftp://example.com/", "https"),
        ("file:///etc/passwd", "https"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "https"),
        ("javascript:alert(1)", "https"),
        ("//example.com/", "https"),
        ("example.com", "https"),
        ("", "https"),
        ("https://", "host"),
        ("https:///path", "host"),
        ("https://user@example.com/", "user"),
        ("https://user:password@example.com/", "user"),
        ("https://example.com@127.0.0.1/", "user"),
        ("https://example.com\\@127.0.0.1/", "user"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com:22/", "port"),
        ("https://example.com:80/", "port"),
        ("https://example.com:0/", "port"),
        ("https://example.com:99999/", "port"),
        ("https://example.com:x/", "URL"),
        ("https://exa mple.com/", "host"),
        ("https://example.com/\r\nhost: x", "URL"),
        ("https://example.com\x00.internal/", "URL"),
        ("https://[::1/", "URL"),
        ("https://0177.0.0.1/", "URL"),
        ("https://[fe80::1%25eth0]/", "host"),
        ("https://example.com/" + "x" * ENDPOINT_URL_LENGTH_MAX, "characters"),
        ("https://-example.com/", "host"),
        ("https://*.example.com/", "host"),
    ],
)
async def test_a_url_of_another_form_is_refused_without_a_look_up(url: str, why: str):
    names = Names((PUBLIC,))
    with pytest.raises(TargetRefused, match=why):
        await Targets(names, private=False).check(url)
    # Plain http is judged by the addresses: loopback may be opened.
    assert names.asked == [] or url.startswith("http://")


# -- addresses -------------------------------------------------------------------------

PRIVATE = [
    "127.0.0.1", "127.255.255.254", "::1", "10.0.0.1", "10.255.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "fc00::1",
    "fdff::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "2002:7f00:1::",
    "2002:0a00:0001::1", "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::c0a8:1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "168.63.129.16",
    "100.100.100.200", "192.0.0.192", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "fe80::1", "febf::1", "fec0::1", "ff02::1",
    "fd00:ec2::254", "2001:db8::1", "2001::1", "2001:10::1", "3fff::1", "100::1",
    "64:ff9b:1::1", "4000::1", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
    "2002:a9fe:a9fe::", "64:ff9b::a9fe:a9fe", "::7f00:1", "::ffff:0:7f00:1", "5f00::1",
]  # fmt: skip
OPEN = [
    PUBLIC, PUBLIC_6, "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.0", "100.63.255.255",
    "100.128.0.0", "9.255.255.255", "11.0.0.0", "223.255.255.255", "2001:4860:4860::8888",
    "2a00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
]  # fmt: skip


@pytest.mark.parametrize("address", OPEN)
async def test_a_public_address_is_where_webhooks_may_go(address: str):
    assert (await check(URL, address)).addresses == (str(ip_address(address)),)


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
async def test_an_address_that_is_not_public_is_refused(address: str):
    with pytest.raises(TargetRefused, match="not public"):
        await check(URL, address)


@pytest.mark.parametrize("address", PRIVATE)
async def test_an_operator_may_open_closed_networks(address: str):
    assert (await check(URL, address, private=True)).addresses == (str(ip_address(address)),)


@pytest.mark.parametrize("address", NEVER)
async def test_what_is_never_open_stays_closed_in_closed_networks(address: str):
    with pytest.raises(TargetRefused, match="not public"):
        await check(URL, address, private=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost"])
async def test_however_a_host_is_written_its_address_decides(host: str):
    """The system's resolver reads all of these as 127.0.0.1."""
    with pytest.raises(TargetRefused, match="not public"):
        await check(f"https://{host}/", "127.0.0.1")


async def test_one_address_that_is_not_public_spoils_the_others():
    with pytest.raises(TargetRefused, match="not public"):
        await check(URL, PUBLIC, PUBLIC_6, "10.0.0.1")


async def test_only_a_few_addresses_are_tried_in_the_resolvers_order():
    many = [f"8.8.8.{number}" for number in range(1, 20)]
    assert (await check(URL, *many)).addresses == tuple(many[:COURIER_ADDRESSES_MAX])


async def test_what_is_allowed_python_calls_global_too():
    """Another list of the same registry, read by somebody else: ours is never wider."""
    chance = random.Random(4)
    allowed = 0
    for _ in range(20_000):
        plain = chance.random() < 0.5
        address = (
            IPv4Address(chance.getrandbits(32))
            if plain
            else IPv6Address(chance.choice((0x2000, 0x2001, 0x2606, 0xFC00)) << 112
                             | chance.getrandbits(112))
        )  # fmt: skip
        try:
            await check(URL, str(address))
        except TargetRefused:
            continue
        allowed += 1
        assert address.is_global, address
        assert not address.is_multicast, address
    assert allowed > 5_000


# -- loopback without TLS --------------------------------------------------------------


async def test_loopback_without_tls_needs_the_operator():
    url = "http://127.0.0.1:8080/hook"
    with pytest.raises(TargetRefused, match="not public"):
        await check(url, "127.0.0.1")
    assert (await check(url, "127.0.0.1", private=True)).url.scheme == "http"
    assert (await check("http://localhost/", "::1", "127.0.0.1", private=True)).url.port is None


@pytest.mark.parametrize("address", ["10.0.0.1", PUBLIC])
async def test_nothing_goes_over_a_wire_without_tls(address: str):
    with pytest.raises(TargetRefused, match="https"):
        await check("http://example.com/", address, private=True)
    with pytest.raises(TargetRefused, match="https"):
        await check("http://example.com/", "127.0.0.1", address, private=True)


# -- names -----------------------------------------------------------------------------


async def test_a_name_that_changes_its_mind_is_caught_the_second_time():
    """DNS rebinding: public when it is registered, private when it is sent to."""
    targets = Targets(Names((PUBLIC,), ("169.254.169.254",), (PUBLIC,)), private=False)
    assert (await targets.check(URL)).addresses == (PUBLIC,)
    with pytest.raises(TargetRefused):
        await targets.check(URL)
    assert (await targets.check(URL)).addresses == (PUBLIC,)


async def test_each_check_looks_the_name_up_once():
    names = Names((PUBLIC,), ("127.0.0.1",))
    assert (await Targets(names, private=False).check(URL)).addresses == (PUBLIC,)
    assert len(names.asked) == 1


@pytest.mark.parametrize(
    "answer", [OSError("nothing known"), UnicodeError("label too long"), ()], ids=repr
)
async def test_a_name_without_addresses_is_refused(answer: Sequence[str] | Exception):
    with pytest.raises(TargetRefused, match="host"):
        await Targets(Names(answer), private=False).check(URL)


async def test_nobody_waits_for_ever_for_a_name():
    async def never(_host: str, _port: int) -> Sequence[str]:
        return await asyncio.get_running_loop().create_future()

    with pytest.raises(TargetRefused, match="in time"):
        await Targets(never, private=False).check(URL)
