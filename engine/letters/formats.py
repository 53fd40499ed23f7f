"""How languages write times and money, by hand for the few that letters come in."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

#: Currencies without minor units, and with a thousand to the major one, as Stripe counts
#: them: that is what a buyer has paid. (ISO 4217 differs for ISK, UGX and MGA.) All others
#: have a hundred.
_WHOLE = frozenset(
    {
        "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV",
        "XAF", "XOF", "XPF",
    }
)  # fmt: skip
_THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
#: Signs that everybody reads as one currency and no other.
_SIGNS = {"EUR": "€", "GBP": "£"}

_NO_BREAK = "\u00a0"
_NARROW_NO_BREAK = "\u202f"


class _Format(Struct, frozen=True):
    """Marks of numbers, and how a day and a time are put together.

    `grouped_from`: digits before the decimal mark from which on they stand in groups.
    """

    decimal: str
    group: str
    sign_first: bool
    moment: str
    weekdays: tuple[str, ...]
    months: tuple[str, ...]
    grouped_from: int = 4
    first_of_month: str = "1"


_FORMATS = {
    "en": _Format(
        ".",
        ",",
        sign_first=True,
        moment="{weekday}, {day} {month} {year}, {hour:02}:{minute:02} ({zone})",
        weekdays=(
            "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
        ),
        months=(
            "January", "February", "March", "April", "May", "June", "July", "August",
            "September", "October", "November", "December",
        ),
    ),
    "de": _Format(
        ",",
        ".",
        sign_first=False,
        moment="{weekday}, {day}. {month} {year}, {hour:02}:{minute:02} Uhr ({zone})",
        weekdays=(
            "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag",
        ),
        months=(
            "Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August",
            "September", "Oktober", "November", "Dezember",
        ),
    ),
    "fr": _Format(
        ",",
        _NARROW_NO_BREAK,
        sign_first=False,
        moment="{weekday} {day} {month} {year} à {hour:02}\u00a0h\u00a0{minute:02} ({zone})",
        weekdays=("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"),
        months=(
            "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août",
            "septembre", "octobre", "novembre", "décembre",
        ),
        first_of_month="1er",
    ),
    "es": _Format(
        ",",
        _NO_BREAK,
        sign_first=False,
        moment="{weekday}, {day} de {month} de {year}, {hour:02}:{minute:02} ({zone})",
        weekdays=("lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"),
        months=(
            "enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto",
            "septiembre", "octubre", "noviembre", "diciembre",
        ),
        grouped_from=5,
    ),
}  # fmt: skip


def moment(at_ms: int, timezone: str | None, language: str) -> str:
    """Return a time as the clocks at the doors show it, with the name of their zone.

    Args:
        at_ms: Unix milliseconds.
        timezone: of the doors; None: UTC.
        language: one that letters come in.
    """
    form = _FORMATS[language]
    local = datetime.fromtimestamp(at_ms // 1_000, UTC if timezone is None else ZoneInfo(timezone))
    return form.moment.format(
        weekday=form.weekdays[local.weekday()],
        day=form.first_of_month if local.day == 1 else local.day,
        month=form.months[local.month - 1],
        year=local.year,
        hour=local.hour,
        minute=local.minute,
        zone=timezone or "UTC",
    )


def money(amount_minor: int, currency: str, language: str) -> str:
    """Return an amount with its currency, as the language writes it.

    Args:
        amount_minor: in minor units.
        currency: ISO 4217.
        language: one that letters come in.
    """
    assert amount_minor >= 0, "no letter speaks of a debt"
    form = _FORMATS[language]
    decimals = 0 if currency in _WHOLE else 3 if currency in _THOUSANDTHS else 2
    whole, rest = divmod(amount_minor, 10**decimals)
    number = str(whole)
    if len(number) >= form.grouped_from:
        number = f"{whole:,}".replace(",", form.group)
    if decimals:
        number += f"{form.decimal}{rest:0{decimals}}"
    sign = _SIGNS.get(currency)
    if not form.sign_first:
        return f"{number}{_NO_BREAK}{sign or currency}"
    return f"{sign}{number}" if sign else f"{currency}{_NO_BREAK}{number}"
