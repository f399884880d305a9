# SPDX-License-Identifier: Apache-2.0
"""The flame graph in a real browser: zoom, search, reset, details, every width, embedding.

The graph is recorded from a real program unless PYBPF_TEST_SVG names one that is there already.
"""
import os
import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import browser as browsers  # noqa: E402

PYBPF = os.environ.get("PYBPF", str(pathlib.Path(__file__).resolve().parents[2] / "build" / "pybpf"))
SVG = "{http://www.w3.org/2000/svg}"
TITLE = re.compile(r"(.*) \((\d+) samples, ([\d.]+)%\)", re.S)

PROGRAM = """
import time
def leaf(n):
    s = 0
    for i in range(n):
        s += i
    return s
def again(depth):
    return again(depth - 1) + leaf(300) if depth else leaf(3000)
def sibling():
    return leaf(9000)
def main():
    end = time.monotonic() + 3
    while time.monotonic() < end:
        again(6)
        sibling()
main()
"""

pytestmark = pytest.mark.skipif(not browsers.program(), reason="chromium is not installed")


@pytest.fixture(scope="module")
def svg(tmp_path_factory):
    if os.environ.get("PYBPF_TEST_SVG"):
        return os.environ["PYBPF_TEST_SVG"]
    if not os.path.exists(PYBPF) or os.geteuid() != 0:
        pytest.skip("needs build/pybpf and root")
    folder = tmp_path_factory.mktemp("svg")
    program, out = folder / "busy.py", folder / "out.svg"
    program.write_text(PROGRAM)
    subprocess.run([PYBPF, "record", "-r", "200", "-o", str(out), "--", sys.executable, str(program)],
                   check=True, timeout=60)
    return str(out)


class Frame:
    def __init__(self, g):
        title, rect = g[0], g[1]
        self.name, samples, _ = TITLE.fullmatch(title.text).groups()
        self.samples = int(samples)
        self.start, self.width = int(rect.get("data-x")), int(rect.get("data-w"))
        self.y = float(rect.get("y"))


@pytest.fixture(scope="module")
def frames(svg):
    group = ET.parse(svg).getroot().find(SVG + "g[@class='frames']")
    return [Frame(g) for g in group]


@pytest.fixture(scope="module")
def page():
    b = browsers.Browser()
    yield b
    b.close()


@pytest.fixture
def graph(page, svg):
    page.size(1200, 800)
    page.open("about:blank")
    page.errors.clear()
    page.open("file://" + svg)
    assert page.js("document.documentElement.classList.contains('ready')")
    yield page
    assert page.errors == []


SHOWN = """[...document.querySelectorAll('.frames > g')].map((g, i) => {
    const r = g.querySelector('rect').getBoundingClientRect(), t = g.querySelector('text');
    const b = t && t.textContent ? t.getBoundingClientRect() : null;
    return {i: i, shown: g.getAttribute('display') !== 'none', x: r.x, y: r.y, w: r.width,
            above: g.classList.contains('above'), hit: g.classList.contains('hit'),
            label: t ? t.textContent : '', right: b ? b.right : 0, left: b ? b.x : 0};
})"""


def shown(page):
    return [f for f in page.js(SHOWN) if f["shown"]]


def text(page, what):
    return page.js("document.querySelector('.%s').textContent" % what)


def inner_frame(frames):
    """One with children and with others beside it, so that zooming changes something."""
    total = frames[0].samples
    for i, f in enumerate(frames[1:-1], 1):
        inside = f.start <= frames[i + 1].start and \
            frames[i + 1].start + frames[i + 1].width <= f.start + f.width
        if total * 0.1 < f.width < total * 0.9 and inside and abs(frames[i + 1].y - f.y) < 50:
            return i
    pytest.fail("no frame of a middle width")


def click_frame(page, index):
    rect = next(f for f in page.js(SHOWN) if f["i"] == index)
    page.click(rect["x"] + rect["w"] / 2, rect["y"] + 9)


def union_share(frames, expression):
    """Share of the samples that have a match anywhere in their stack, out of the file itself."""
    regex = re.compile(expression, re.I)
    total, covered = frames[0].samples, set()
    for f in frames:
        if regex.search(f.name):
            covered.update(range(f.start, f.start + f.width))
    return 100.0 * len(covered) / total


def type_search(page, expression):
    page.key("f", ctrl=True)
    page.type(expression)
    page.until("location.hash.includes('s=')")
    return text(page, "matched")


@pytest.mark.parametrize("width, height", [(320, 800), (400, 800), (1200, 800), (1200, 120), (2400, 800)])
def test_fills_any_width_and_labels_never_overflow(graph, frames, width, height):
    """A graph that is taller than the window has a scroll bar beside it, which clientWidth leaves out."""
    graph.size(width, height)
    graph.until("innerWidth === %d && document.documentElement.getBoundingClientRect().width === "
                "document.documentElement.clientWidth" % width)
    seen = shown(graph)
    inner = graph.js("document.documentElement.clientWidth") - 20
    assert seen[0]["w"] == pytest.approx(inner, abs=1)
    for f in seen:
        assert f["x"] >= 9.9 and f["x"] + f["w"] <= 10.1 + inner
        assert f["w"] == pytest.approx(frames[f["i"]].width / frames[0].width * inner, abs=0.05)
        if f["label"]:
            assert f["left"] >= f["x"] and f["right"] <= f["x"] + f["w"] + 0.5
            name = frames[f["i"]].name
            assert name == f["label"] or \
                (f["label"].endswith("..") and name.startswith(f["label"][:-2]))
    for what in ("title", "subtitle", "details", "tools"):
        box = graph.js("(r => [r.x, r.right])(document.querySelector('.%s')"
                       ".getBoundingClientRect())" % what)
        assert box[0] >= 0 and box[1] <= inner + 20


def test_click_zooms_and_reset_goes_back(graph, frames):
    before = shown(graph)
    index = inner_frame(frames)
    click_frame(graph, index)
    now = {f["i"]: f for f in shown(graph)}
    chosen = frames[index]
    assert now[index]["w"] == pytest.approx(now[0]["w"], abs=0.1)
    for i, f in now.items():
        outer = frames[i].start <= chosen.start and i < index
        assert f["above"] == (outer and i != index)
        assert outer or chosen.start <= frames[i].start < chosen.start + chosen.width
    assert any(f["i"] > index for f in now.values())
    assert len(now) < len(before)
    assert text(graph, "details").startswith(chosen.name[:20])
    assert graph.js("location.hash") == "#z=%d" % index
    reset = graph.js("(r => [r.x + 5, r.y + 5])(document.querySelector('button.reset')"
                     ".getBoundingClientRect())")
    graph.click(*reset)
    assert shown(graph) == before
    assert graph.js("location.hash") == ""


def test_escape_key_undoes_search_then_zoom(graph, frames):
    before = shown(graph)
    click_frame(graph, inner_frame(frames))
    type_search(graph, "leaf")
    graph.key("Escape")
    assert text(graph, "matched") == "" and not any(f["hit"] for f in shown(graph))
    assert graph.js("location.hash").startswith("#z=")
    graph.key("Escape")
    assert shown(graph) == before


@pytest.mark.parametrize("expression", ["leaf", "again|sibling", r"^main \(", "a.a.n", "LEAF"])
def test_search_by_expression_counts_no_sample_twice(graph, frames, expression):
    matched = type_search(graph, expression)
    want = union_share(frames, expression)
    assert want > 0
    assert float(re.fullmatch(r"Matched: ([\d.]+) %", matched).group(1)) == \
        pytest.approx(want, abs=0.006)
    regex = re.compile(expression, re.I)
    for f in graph.js(SHOWN):
        assert f["hit"] == bool(regex.search(frames[f["i"]].name))


def test_search_that_is_no_expression_is_taken_literally(graph, frames):
    matched = type_search(graph, "main (")
    assert float(re.search(r"[\d.]+", matched).group()) == \
        pytest.approx(union_share(frames, r"main \("), abs=0.006)


def test_case_button(graph):
    assert type_search(graph, "LEAF") != "Matched: 0.00 %"
    at = graph.js("(r => [r.x + 5, r.y + 5])(document.querySelector('button.case')"
                  ".getBoundingClientRect())")
    graph.click(*at)
    assert text(graph, "matched") == "Matched: 0.00 %"
    assert graph.js("location.hash").endswith("c=1")


def test_share_of_the_zoomed_view(graph, frames):
    index = inner_frame(frames)
    click_frame(graph, index)
    matched = type_search(graph, re.escape(frames[index].name[:8]))
    assert matched.endswith("(100.00 % of this view)")


def test_pointer_shows_name_samples_and_share(graph, frames):
    # the widest but for the root: a few samples of start-up may come first, and be narrower than the way of the pointer
    rect = max(shown(graph)[1:], key=lambda f: f["w"])
    graph.move(rect["x"] + 5, rect["y"] + 9)
    frame = frames[rect["i"]]
    want = "{:,} samples, {:.2f} %".format(frame.samples, 100.0 * frame.samples / frames[0].samples)
    assert text(graph, "details").endswith(want)


def test_view_is_kept_in_the_address(graph, svg, frames):
    index = inner_frame(frames)
    graph.open("about:blank")
    graph.open("file://%s#z=%d&s=leaf&c=1" % (svg, index))
    assert next(f for f in shown(graph) if f["i"] == index)["w"] == pytest.approx(1180, abs=20)
    assert text(graph, "matched").startswith("Matched: ")
    assert graph.js("document.querySelector('input').value") == "leaf"
    graph.open("about:blank")
    graph.open("file://%s#z=99999999&s=%%E0%%A4%%A&c=" % svg)
    assert shown(graph)[0]["w"] >= 1100
    for odd in "z=length", "z=-1", "z=1.5", "z=__proto__", "=&&z":
        graph.open("about:blank")
        graph.open("file://%s#%s" % (svg, odd))
        assert shown(graph)[0]["w"] >= 1100 and not graph.errors, odd


def test_arrow_keys_walk_and_enter_zooms(graph, frames):
    graph.key("ArrowUp")
    graph.key("ArrowUp")
    assert graph.js("document.querySelectorAll('.cursor').length") == 1
    graph.key("Enter")
    zoomed = int(graph.js("location.hash").split("=")[1])
    assert zoomed > 0 and frames[zoomed].y < frames[0].y


def test_embedded_in_a_page(page, svg, tmp_path):
    picture = pathlib.Path(svg).read_text().split("?>", 1)[1]
    html = tmp_path / "page.html"
    html.write_text("""<!doctype html><meta charset=utf-8><body>
<img src="file://%s" style="width:100%%"><object data="file://%s" style="width:50%%"></object>
<div id=a style="width:600px">%s</div><div id=b style="width:300px">%s</div>""" %
                    (svg, svg, picture, picture))
    page.errors.clear()
    page.size(1000, 900)
    page.open("file://%s" % html)
    assert page.errors == []
    assert page.js("document.querySelector('img').naturalWidth") == 1200
    widths = page.js("[...document.querySelectorAll('svg .frames g:first-child rect')]"
                     ".map(r => r.getBoundingClientRect().width)")
    assert widths == pytest.approx([580, 280], abs=0.5)
    # Two graphs in one page do not disturb each other.
    page.js("document.querySelectorAll('#a .frames > g')[2].dispatchEvent("
            "new MouseEvent('click', {bubbles: true}))")
    assert page.js("document.querySelectorAll('#a .above').length") > 0
    assert page.js("document.querySelectorAll('#b .above').length") == 0


def test_without_script_the_picture_is_complete(svg, frames):
    root = ET.parse(svg).getroot()
    width = float(root.get("width"))
    for g, f in zip(root.find(SVG + "g[@class='frames']"), frames):
        rect = g[1]
        assert float(rect.get("width")) == \
            pytest.approx(f.width / frames[0].width * (width - 20), abs=0.01)
        if len(g) > 2:
            assert g[2].text == f.name or f.name.startswith(g[2].text[:-2])
    assert "%d samples" % frames[0].samples in root.find(SVG + "text[@class='subtitle']").text
    assert not re.search(r'(?:src|href)\s*=', pathlib.Path(svg).read_text().split("<script>")[0])
