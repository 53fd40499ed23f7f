"""QR codes as a scanner at the door sees them: read back by somebody else's decoder."""

import io

import pypdfium2
import zxingcpp
from PIL import Image


def read_image(image: Image.Image) -> list[str]:
    """Return what the codes in a picture say."""
    return [found.text for found in zxingcpp.read_barcodes(image.convert("L"))]


def read_png(png: bytes) -> str:
    """Return what the one code of a PNG says."""
    (text,) = read_image(Image.open(io.BytesIO(png)))
    return text


def read_pdf(pdf: bytes) -> list[str]:
    """Return what the codes of a document's pages say, page by page."""
    return [text for page in pages(pdf) for text in read_image(page)]


def pages(pdf: bytes, dots_per_inch: int = 150) -> list[Image.Image]:
    """Return the pages of a document as an office printer would print them."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return [page.render(scale=dots_per_inch / 72).to_pil() for page in document]
    finally:
        document.close()


def text_of(pdf: bytes) -> str:
    """Return the text of a document."""
    document = pypdfium2.PdfDocument(pdf)
    try:
        return "\n".join(page.get_textpage().get_text_range() for page in document)
    finally:
        document.close()
