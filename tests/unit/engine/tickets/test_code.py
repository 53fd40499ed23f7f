"""Codes read back with somebody else's decoder, small, turned and dirty, too."""

import io
import random
from xml.etree import ElementTree as ET

import pytest
import zxingcpp
from PIL import Image, ImageDraw

from engine.tickets import code
from engine.tickets.seal import Seals
from tests.reading_codes import read_image, read_png

PAYLOAD = Seals((bytes(32),)).seal("tkt_" + "0123456789abcdefghjkmnpqrstvwx", "ann")


def image() -> Image.Image:
    return Image.open(io.BytesIO(code.png(code.matrix(PAYLOAD)))).convert("L")


def test_a_png_says_its_payload() -> None:
    assert read_png(code.png(code.matrix(PAYLOAD))) == PAYLOAD


def test_the_code_is_small_and_survives_damage() -> None:
    """At most version 8 (49 modules), in alphanumeric mode, at error correction Q."""
    (found,) = zxingcpp.read_barcodes(image())
    assert found.ec_level == "Q"
    assert len(code.matrix(PAYLOAD)) == 37


def test_nothing_but_the_payload_makes_the_picture() -> None:
    first, second = (code.png(code.matrix(PAYLOAD)) for _ in range(2))
    assert first == second
    assert code.matrix(PAYLOAD) != code.matrix(PAYLOAD[:-1] + "0")


def test_an_svg_says_its_payload() -> None:
    """Drawn here from the path alone: each part is one run of dark modules."""
    drawn = ET.fromstring(code.svg(code.matrix(PAYLOAD), "K7QX-93DM"))
    size = int(drawn.attrib["viewBox"].split()[2])
    picture = Image.new("L", (8 * size, 8 * size), 255)
    pen = ImageDraw.Draw(picture)
    path = drawn.findall("{http://www.w3.org/2000/svg}path")[1].attrib["d"]
    for part in path.split("z")[:-1]:
        x, rest = part.removeprefix("M").split(" ")
        y, width = rest.split("v")[0].split("h")
        left, top = 8 * int(x), 8 * int(y)
        pen.rectangle((left, top, left + 8 * int(width) - 1, top + 7), 0)
    assert read_image(picture) == [PAYLOAD]
    assert drawn.findtext("{http://www.w3.org/2000/svg}title") == "K7QX-93DM"


@pytest.mark.parametrize("pixels", [90, 150, 1_200])
def test_a_code_reads_at_any_size(pixels: int) -> None:
    assert read_image(image().resize((pixels, pixels))) == [PAYLOAD]


@pytest.mark.parametrize("degrees", [0, 7, 45, 90, 180, 271])
def test_a_code_reads_however_it_is_held(degrees: int) -> None:
    assert read_image(image().rotate(degrees, expand=True, fillcolor=255)) == [PAYLOAD]


def test_a_dirty_code_reads() -> None:
    spoiled, chance = image(), random.Random(1)
    pen = ImageDraw.Draw(spoiled)
    for _ in range(40):
        x, y = chance.randrange(120, 400), chance.randrange(120, 400)
        pen.rectangle((x, y, x + 9, y + 9), chance.choice((0, 255)))
    assert read_image(spoiled) == [PAYLOAD]


def test_a_code_of_something_else_does_not_say_this() -> None:
    """The negative control: the decoder does not see what it should see everywhere."""
    other = code.png(code.matrix(PAYLOAD[::-1]))
    assert read_png(other) == PAYLOAD[::-1] != PAYLOAD
    assert read_image(Image.new("L", (450, 450), 255)) == []
