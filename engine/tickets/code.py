"""The QR code of a payload: as squares, as SVG and as PNG."""

import io

import qrcode
from PIL import Image
from qrcode.constants import ERROR_CORRECT_Q

#: Light modules around the code, which readers need to find it (ISO/IEC 18004).
QUIET_MODULES = 4
#: A scratched or dirty code still reads when a quarter of it is gone (level Q). At this
#: version a payload of 76 characters fits, and 37 modules read well at 2 cm.
_VERSION = 5
#: Pixels for each module of the PNG: 450 across, sharp on any screen.
_PIXELS = 10

Matrix = tuple[tuple[bool, ...], ...]


def matrix(payload: str) -> Matrix:
    """Return the modules of the code, row by row, True where dark; without a quiet zone.

    Args:
        payload: digits, capital letters and ` $%*+-./:`, 87 characters at most.
    """
    code = qrcode.QRCode(_VERSION, ERROR_CORRECT_Q, border=0)
    code.add_data(payload, optimize=0)
    code.make(fit=False)
    return tuple(tuple(bool(module) for module in row) for row in code.get_matrix())


def svg(code: Matrix, title: str = "") -> bytes:
    """Return the code as an SVG image, one path of its dark modules.

    Args:
        code: modules as `matrix` returns them.
        title: what a screen reader says instead of the image; must be safe as XML text.
    """
    size = len(code) + 2 * QUIET_MODULES
    path = "".join(
        f"M{x + QUIET_MODULES} {y + QUIET_MODULES}h{width}v1h-{width}z"
        for y, row in enumerate(code)
        for x, width in runs(row)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" '
        f'shape-rendering="crispEdges" role="img"><title>{title}</title>'
        f'<path fill="#fff" d="M0 0h{size}v{size}H0z"/><path d="{path}"/></svg>\n'
    ).encode()


def png(code: Matrix) -> bytes:
    """Return the code as a PNG image of one bit a pixel."""
    written = io.BytesIO()
    image(code).save(written, "PNG", optimize=True)
    return written.getvalue()


def image(code: Matrix) -> Image.Image:
    """Return the code as a picture, black on white."""
    size = len(code) + 2 * QUIET_MODULES
    picture = Image.new("1", (size, size), 1)
    for y, row in enumerate(code):
        for x, dark in enumerate(row):
            if dark:
                picture.putpixel((x + QUIET_MODULES, y + QUIET_MODULES), 0)
    return picture.resize((size * _PIXELS, size * _PIXELS), Image.Resampling.NEAREST)


def runs(row: tuple[bool, ...]) -> list[tuple[int, int]]:
    """Return where the dark runs of a row begin and how long they are."""
    found: list[tuple[int, int]] = []
    start = None
    for x, dark in enumerate((*row, False)):
        if dark and start is None:
            start = x
        elif not dark and start is not None:
            found.append((start, x - start))
            start = None
    return found
