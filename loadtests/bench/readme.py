"""The README's numbers: those of the result that is kept in `docs/benchmark.json`.

    python -m loadtests.bench.readme [RESULT]

writes them into the README; with a result of `onsale bench`, that one is kept from now on.
"""

import shutil
import sys
from pathlib import Path

from loadtests.bench import document, markdown

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "docs" / "benchmark.json"
BEGIN = "<!-- measured: written from docs/benchmark.json by python -m loadtests.bench.readme -->\n"
END = "<!-- end of measured -->\n"


def parts(readme: str) -> tuple[str, str, str]:
    """Return what stands before the numbers, the numbers, and what stands after them."""
    before, begin, rest = readme.partition(BEGIN)
    section, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit("README.md has no place for the numbers")
    return before + begin, section, end + after


def section() -> str:
    """Return the numbers as the README should show them."""
    return markdown.section(document.read(RESULT)) + "\n"


def main(results: list[str]) -> None:
    """Keep a result, if one is given, and write the README's part."""
    if results:
        shutil.copyfile(results[0], RESULT)
    path = ROOT / "README.md"
    before, _, after = parts(path.read_text())
    path.write_text(before + section() + after)


if __name__ == "__main__":
    main(sys.argv[1:])
