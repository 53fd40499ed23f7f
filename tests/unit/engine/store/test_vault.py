"""The vault: sealed by the newest key, opened by all, and found without being read."""

import pytest

from engine.store.contract import Contact
from engine.store.vault import NoKeyOpens, Vault

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32
ANN = Contact("ann@example.org", "Ann Önal", "de", ("Ann Önal", "Zoë"))


@pytest.mark.parametrize("contact", [ANN, Contact("a@b"), Contact("", "", "", ("",) * 9)])
def test_what_is_sealed_is_opened(contact: Contact) -> None:
    assert Vault((NEW,)).open_contact(Vault((NEW,)).seal_contact(contact)) == contact


def test_the_same_is_never_sealed_the_same() -> None:
    vault = Vault((NEW,), now_s=lambda: 0.0)
    sealed = {vault.seal_contact(ANN) for _ in range(20)}
    assert len(sealed) == 20
    for one in sealed:
        # Three letters come about by chance in what is sealed.
        assert b"example" not in one.lower()


def test_every_key_opens_and_the_newest_seals() -> None:
    old = Vault((OLD,)).seal_contact(ANN)
    both = Vault((NEW, OLD))
    assert both.open_contact(old) == ANN
    assert Vault((NEW,)).open_contact(both.seal_contact(ANN)) == ANN


def test_what_no_key_opens_has_its_own_error() -> None:
    vault, sealed = Vault((NEW,)), Vault((NEW,)).seal_contact(ANN)
    damaged = bytearray(sealed)
    damaged[20] ^= 1
    for wrong in (Vault((OLD,)).seal_contact(ANN), bytes(damaged), sealed[:-4], b"", b"\xff"):
        for ask in (vault.open_contact, vault.open, vault.renewed, vault.sealed_s):
            with pytest.raises(NoKeyOpens):
                ask(wrong)


def test_to_renew_changes_the_key_and_not_the_time() -> None:
    old = Vault((OLD,), now_s=lambda: 1_000.9).seal_contact(ANN)
    both = Vault((NEW, OLD), now_s=lambda: 9_000.0)
    renewed = both.renewed(old)
    assert Vault((NEW,)).open_contact(renewed) == ANN
    assert both.sealed_s(old) == both.sealed_s(renewed) == 1_000
    assert both.renewed(renewed) == renewed


def test_an_address_is_the_same_however_it_is_written() -> None:
    vault = Vault((NEW,))
    assert vault.blind(" Straße@EXAMPLE.org\n") == vault.blind("strasse@example.ORG")
    different = {vault.blind(address) for address in ("a@b.c", "a@b.d", "a.@b.c", "")}
    assert len(different) == 4
    assert "a@b.c" not in vault.blind("a@b.c")


def test_an_address_has_a_blind_for_each_key() -> None:
    both = Vault((NEW, OLD))
    blinds = both.blinds("a@b.c")
    assert blinds == [Vault((NEW,)).blind("a@b.c"), Vault((OLD,)).blind("a@b.c")]
    assert both.blind("a@b.c") == blinds[0] != blinds[1]


def test_keys_are_told_apart() -> None:
    assert Vault((NEW, OLD)).key_ids == Vault((NEW,)).key_ids + Vault((OLD,)).key_ids
    assert len({*Vault((NEW, OLD, OTHER)).key_ids}) == 3


@pytest.mark.parametrize("secrets", [(), (b"short",), (NEW, b"short")])
def test_keys_that_protect_nothing_are_refused(secrets: tuple[bytes, ...]) -> None:
    with pytest.raises(AssertionError):
        Vault(secrets)
