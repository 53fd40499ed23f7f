"""A result can be read again, is what the README shows, and makes a page by itself."""

import re
from html import escape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from msgspec.structs import replace

from loadtests.bench import document, grids, html, markdown, readme, verdict
from loadtests.bench.document import Document
from loadtests.bench.plots import Axis, Bar, Series, bars, lines

_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def kept() -> Document:
    """A quick run on a busy machine."""
    return document.read(Path(__file__).parent / "benchmark-quick.json")


def test_the_readme_shows_the_numbers_of_the_kept_result():
    _, shown, _ = readme.parts((readme.ROOT / "README.md").read_text())
    if readme.RESULT.exists():
        full = document.read(readme.RESULT)
        assert shown == readme.section()
        assert full.judged
        assert full.found.faults == []
        assert full.verdict == verdict.of(full.found)
    else:
        assert "durable hold" in shown  # written by hand, until a result is kept


def test_numbers_are_written_between_their_marks_and_nowhere_else(tmp_path, monkeypatch, kept):
    result = document.write(tmp_path, kept)
    before, after = "# onsale\n", "## Using it\n"
    (tmp_path / "README.md").write_text(before + readme.BEGIN + "old\n" + readme.END + after)
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "RESULT", tmp_path / "kept.json")
    readme.main([str(result)])
    assert (tmp_path / "kept.json").read_bytes() == result.read_bytes()
    found = readme.parts((tmp_path / "README.md").read_text())
    assert found == (before + readme.BEGIN, readme.section(), readme.END + after)
    with pytest.raises(SystemExit, match="no place"):
        readme.parts("# onsale\n")


def test_every_number_of_the_tables_is_on_both_pages(kept):
    text, page = markdown.page(kept), html.page(kept)
    for grid in grids.all_of(kept):
        assert len(grid.rows) > 1
        for row in grid.rows:
            assert len(row) == len(grid.columns)
            assert f"| {' | '.join(row)} |" in text
            assert all(f"<td>{escape(cell)}</td>" in page for cell in row)


def test_what_was_not_measured_is_told(kept):
    (missing, *_) = [one.contender for one in kept.found.rounds if "FOR UPDATE" in one.contender]
    rounds = [one for one in kept.found.rounds if one.contender != missing]
    absent = {missing: "no PostgreSQL: apt-get install postgresql"}
    found = replace(kept.found, rounds=rounds, absent=absent)
    less = document.document(kept.plan, found, kept.machine, judged=True)
    assert missing not in " ".join(finding.what for finding in less.verdict)
    for page in (markdown.page(less), html.page(less)):
        assert "not measured" in page
        assert "apt-get install postgresql" in page


def test_a_quick_run_is_not_judged(kept):
    quick = document.document(kept.plan, kept.found, kept.machine, judged=False)
    (*_, targets) = grids.all_of(quick)
    assert {row[-1] for row in targets.rows} == {""}
    (*_, targets) = grids.all_of(replace(kept, judged=True))
    assert "" not in {row[-1] for row in targets.rows}


def test_the_page_needs_nothing_from_elsewhere(kept):
    page = html.page(kept)
    assert page.count("<svg") == 6
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import", page)
    for svg in re.findall(r"<svg.*?</svg>", page):
        drawn = ET.fromstring(svg)
        _, _, width, height = map(float, drawn.attrib["viewBox"].split())
        for element in drawn.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(element.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(element.get(name, 0)) <= height


def test_a_line_goes_where_its_points_are():
    svg = lines("t", Axis("x", log=True), Axis("y"), [Series("s", [(1, 0), (10, 5), (100, 10)])])
    drawn = ET.fromstring(svg)
    points = drawn.find(f"{_SVG}polyline").attrib["points"].split()
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, point.split(","))) for point in points]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)  # decades are equally wide
    assert y0 - y1 == pytest.approx(y1 - y2, abs=0.2)
    assert y0 > y2  # up is more


def test_a_bar_is_as_long_as_its_value():
    drawn = ET.fromstring(bars("t", "u", [Bar("a", 50, 40, 60), Bar("<b>", 100, 90, 120)]))
    short, long = [float(rect.attrib["width"]) for rect in drawn.iter(f"{_SVG}rect")]
    assert long == pytest.approx(2 * short, abs=0.2)
    assert "<b>" in [text.text for text in drawn.iter(f"{_SVG}text")]
