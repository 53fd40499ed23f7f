"""Times and money as each language writes them."""

import pytest

from engine.letters.formats import moment, money

# 2027-03-01 19:05 UTC
AT_MS = 1_803_927_900_000


@pytest.mark.parametrize(
    ("language", "written"),
    [
        ("en", "Monday, 1 March 2027, 20:05 (Europe/Berlin)"),
        ("de", "Montag, 1. März 2027, 20:05 Uhr (Europe/Berlin)"),
        ("fr", "lundi 1er mars 2027 à 20\u00a0h\u00a005 (Europe/Berlin)"),
        ("es", "lunes, 1 de marzo de 2027, 20:05 (Europe/Berlin)"),
    ],
)
def test_a_time_is_that_of_the_doors(language: str, written: str) -> None:
    assert moment(AT_MS, "Europe/Berlin", language) == written


def test_every_day_and_month_has_its_name() -> None:
    for language in ("en", "de", "fr", "es"):
        days = {moment(AT_MS + day * 86_400_000, None, language).split()[0] for day in range(7)}
        assert len(days) == 7
        months = [moment(AT_MS + week * 604_800_000, None, language) for week in range(52)]
        names = {name for text in months for name in text.split() if name.isalpha()}
        assert len(names - {"à", "de", "h", "Uhr", *(text.split()[0] for text in months)}) == 12


def test_the_second_of_a_month_is_no_first_and_no_zone_is_utc() -> None:
    assert moment(AT_MS + 86_400_000, None, "fr").startswith("mardi 2 mars 2027 à 19")
    assert moment(AT_MS, None, "en").endswith("19:05 (UTC)")


@pytest.mark.parametrize(
    ("amount_minor", "currency", "written"),
    [
        (4_500, "EUR", ("€45.00", "45,00\u00a0€", "45,00\u00a0€", "45,00\u00a0€")),
        (5, "GBP", ("£0.05", "0,05\u00a0£", "0,05\u00a0£", "0,05\u00a0£")),
        (
            1_234_567,
            "USD",
            (
                "USD\u00a012,345.67", "12.345,67\u00a0USD", "12\u202f345,67\u00a0USD",
                "12\u00a0345,67\u00a0USD",
            ),
        ),
        (
            1_500,
            "JPY",
            ("JPY\u00a01,500", "1.500\u00a0JPY", "1\u202f500\u00a0JPY", "1500\u00a0JPY"),
        ),
        (
            12_345_678,
            "KWD",
            (
                "KWD\u00a012,345.678", "12.345,678\u00a0KWD", "12\u202f345,678\u00a0KWD",
                "12\u00a0345,678\u00a0KWD",
            ),
        ),
        (0, "CHF", ("CHF\u00a00.00", "0,00\u00a0CHF", "0,00\u00a0CHF", "0,00\u00a0CHF")),
        (100_000_000, "EUR", ("€1,000,000.00", "1.000.000,00\u00a0€",
                              "1\u202f000\u202f000,00\u00a0€", "1\u00a0000\u00a0000,00\u00a0€")),
    ],
)  # fmt: skip
def test_money_has_the_decimals_of_its_currency(amount_minor, currency, written) -> None:
    languages = ("en", "de", "fr", "es")
    assert tuple(money(amount_minor, currency, one) for one in languages) == written


def test_no_letter_speaks_of_a_debt() -> None:
    with pytest.raises(AssertionError):
        money(-1, "EUR", "en")
