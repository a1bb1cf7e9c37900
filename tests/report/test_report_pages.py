"""The pages in a headless browser: clean, complete, legible, and usable by keyboard."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_gallery import HOSTILE
from fake_reports import write_run
from headless_browser import headless

from al_lightning.report import qualitative
from al_lightning.report.__main__ import main

KINDS = ("occupancy", "planning", "comparison", "qualitative")
UNFOLD = """() => {
    document.querySelectorAll("[hidden]:not(#tip)").forEach(each => each.hidden = false);
    document.querySelectorAll("details").forEach(each => each.open = true);
}"""
CONTRAST = """() => {
    const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
        .getContext("2d", {willReadFrequently: true});
    const over = (below, color) => {
        context.clearRect(0, 0, 1, 1);
        for (const each of [below, color]) { context.fillStyle = each; context.fillRect(0, 0, 1, 1); }
        const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
        return `rgb(${r}, ${g}, ${b})`;
    };
    const behind = (element) => {
        if (!element) return "rgb(255, 255, 255)";
        return over(behind(element.parentElement), getComputedStyle(element).backgroundColor);
    };
    const light = (color) => color.match(/\\d+/g).map(Number).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!own || element.closest("script, style, desc, svg") || element.closest("[aria-pressed=false]")) continue;
        if (!element.getClientRects().length) continue;
        const below = behind(element), color = over(below, getComputedStyle(element).color);
        const [a, b] = [light(below), light(color)].sort((x, y) => y - x);
        found.push([(a + 0.05) / (b + 0.05), element.tagName, element.textContent.slice(0, 40)]);
    }
    return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.fixture(scope="module")
def pages(finished_runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a run of each kind, that of a folder of runs, and that of samples as runs predict them."""
    found = {kind: run / "report.html" for kind, run in finished_runs.items()}
    folder = tmp_path_factory.mktemp("many")
    for seed in (0, 1, 2):
        for gain, names in enumerate((("random",), ("entropy",), (HOSTILE,), ("inter", "intra", "uncertainty"))):
            metrics = {"mIoU": [0.1 + 0.01 * seed, 0.2, 0.2 + 0.05 * gain], "IoU/car": [0.1, 0.2, 0.3]}
            write_run(folder / f"{gain}-{seed}", seed, names, metrics=metrics)
    write_run(folder / "full", 0, metrics={"mIoU": [0.5], "IoU/car": [0.5]}, seed_size=40, cycles=1)
    (folder / "0-0/report.html").write_text("the page of a run")
    assert main([str(folder)]) == 0
    found["comparison"] = folder / "report/report.html"
    found["qualitative"] = folder / "qualitative.html"
    runs = [str(finished_runs["occupancy"])] * 3
    assert qualitative.main([*runs, "--out", str(found["qualitative"])]) == 0
    return found


@pytest.fixture(scope="module")
def browser():
    with headless() as found:
        yield found


@pytest.fixture
def visit(browser, pages):
    """Opens a page; what its console says and what it asks for is gathered."""
    contexts = []

    def opened(kind: str, *, width: int = 1280, scheme: str = "light", scripts: bool = True):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages[kind].as_uri())
        return page, SimpleNamespace(said=said, asked=asked)

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_one_file_without_a_complaint(kind: str, visit, pages: dict[str, Path]) -> None:
    page, seen = visit(kind)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(100)
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith("data:")] == [pages[kind].as_uri()]
    assert page.locator("script").count() == 1  # none came in with a name
    assert page.title()
    assert pages[kind].stat().st_size < 5_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_figures_and_references_are_whole(kind: str, visit) -> None:
    page, _ = visit(kind)
    page.evaluate(UNFOLD)
    sizes = page.evaluate("""() => [...document.querySelectorAll("figure, figure svg, figure img, figure table")].map(
        each => [each.tagName + "#" + (each.id || each.closest("figure").id), each.getBoundingClientRect().width,
                 each.getBoundingClientRect().height, each.tagName === "IMG" ? each.naturalWidth : 1])""")
    assert len(sizes) > 5
    assert [size for size in sizes if min(size[1:]) < 1] == []
    broken = page.evaluate("""() => {
        const ids = [...document.querySelectorAll("[id]")].map(each => each.id), lost = [];
        if (new Set(ids).size !== ids.length) lost.push("an id is used twice");
        for (const name of ["aria-labelledby", "aria-describedby", "aria-controls", "data-show"])
            for (const each of document.querySelectorAll(`[${name}]`))
                if (!document.getElementById(each.getAttribute(name))) lost.push(each.getAttribute(name));
        for (const each of document.querySelectorAll("a[href^='#']"))
            if (!document.getElementById(each.getAttribute("href").slice(1))) lost.push(each.getAttribute("href"));
        for (const each of document.querySelectorAll("svg"))
            if (!each.querySelector("desc") || !each.hasAttribute("aria-labelledby")) lost.push(each.outerHTML);
        for (const each of document.querySelectorAll("img")) if (!each.alt) lost.push("img without alt");
        return lost;
    }""")
    assert broken == []


def test_linked_pages_are_there(visit, pages: dict[str, Path]) -> None:
    page, _ = visit("comparison")
    links = page.evaluate("[...document.querySelectorAll('td a, th a')].map(each => each.getAttribute('href'))")
    assert links == ["../0-0/report.html"]
    assert (pages["comparison"].parent / links[0]).exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_need_not_scroll_sideways(kind: str, visit) -> None:
    page, _ = visit(kind, width=375)
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    wide = page.evaluate("""() => [...document.querySelectorAll("main *")].filter(
        each => each.getBoundingClientRect().right > 376 && !each.closest(".scroll, pre, svg")
    ).map(each => each.outerHTML.slice(0, 99))""")
    assert wide == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_name_in_a_drawing_is_cut_on_a_phone(kind: str, visit) -> None:
    page, _ = visit(kind, width=375)
    page.evaluate(UNFOLD)
    cut = page.evaluate("""() => [...document.querySelectorAll("svg text")].filter(each => {
        const own = each.getBoundingClientRect(), all = each.ownerSVGElement.getBoundingClientRect();
        return own.width && (own.left < all.left - 0.5 || own.right > all.right + 0.5);
    }).map(each => each.textContent)""")
    assert cut == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_text_has_contrast(kind: str, scheme: str, visit) -> None:
    page, _ = visit(kind, scheme=scheme)
    page.evaluate(UNFOLD)
    found = page.evaluate(CONTRAST)
    assert len(found) > 50
    assert [each for each in found if each[0] < 4.5] == []


def test_dark_is_dark(visit) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        page, _ = visit("planning", scheme=scheme)
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = sum(int(part) for part in color.strip("rgb()").split(","))
    assert shades["dark"] < 150 < 600 < shades["light"]


@pytest.mark.parametrize("kind", ["occupancy", "planning"])
def test_arrow_keys_lead_through_the_gallery(kind: str, visit) -> None:
    page, _ = visit(kind)
    gallery = page.locator("[data-gallery]:visible")
    chips, articles = gallery.locator("[data-show]"), gallery.locator("article")
    assert chips.count() == articles.count() > 2
    assert [articles.nth(i).is_visible() for i in range(3)] == [True, False, False]
    chips.first.focus()
    page.keyboard.press("ArrowRight")
    assert [articles.nth(i).is_visible() for i in range(3)] == [False, True, False]
    assert chips.nth(1).evaluate("each => each === document.activeElement")
    page.keyboard.press("End")
    assert articles.last.is_visible()
    page.keyboard.press("ArrowRight")
    assert articles.last.is_visible()
    page.keyboard.press("Home")
    assert articles.first.is_visible()
    chips.nth(2).click()
    assert articles.nth(2).is_visible()


def test_the_first_stop_of_the_keyboard_skips_the_navigation(visit) -> None:
    page, _ = visit("occupancy")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_tabs_show_one_panel(visit) -> None:
    page, _ = visit("occupancy")
    box = page.locator("#scores [data-tabs]")
    panels = box.locator("[role=tabpanel]")
    assert [panels.nth(i).is_visible() for i in range(panels.count())] == [False, True]
    box.locator("[role=tab][aria-selected=true]").focus()
    page.keyboard.press("ArrowLeft")
    assert [panels.nth(i).is_visible() for i in range(panels.count())] == [True, False]


def test_marks_speak_on_focus_and_hover(visit) -> None:
    page, _ = visit("comparison")
    tip, marks = page.locator("#tip"), page.locator("#e0-curve-0 circle")
    marks.first.focus()
    assert tip.is_visible()
    first = tip.inner_text()
    assert "labeled" in first
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    assert tip.inner_text() != first
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    marks.last.hover()
    assert tip.is_visible()


def test_a_legend_hides_a_curve(visit) -> None:
    page, _ = visit("comparison")
    figure = page.locator("#e0-curve-0")
    before = figure.locator("polyline:visible").count()
    button = figure.locator("[data-toggles]").first
    button.click()
    assert figure.locator("polyline:visible").count() == before - 1
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert figure.locator("polyline:visible").count() == before


def test_a_table_is_sorted_by_its_head(visit) -> None:
    page, _ = visit("comparison")
    table = page.locator("#all-runs table")
    column = "rows => rows.map(row => Number(row.cells[6].dataset.value))"
    for order in (True, False):
        table.locator("thead button").nth(6).click()
        values = table.locator("tbody tr").evaluate_all(column)
        assert len(values) == 13
        assert values == sorted(values, reverse=order)
    table.locator("thead button").nth(0).click()
    names = table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[0].textContent)")
    assert names == sorted(names)


@pytest.mark.parametrize("kind", KINDS)
def test_without_scripts_everything_is_there(kind: str, visit) -> None:
    page, _ = visit(kind, scripts=False)
    for what in ("article", "[role=tabpanel]", "figure"):
        places = page.locator(what)
        assert all(places.nth(i).is_visible() for i in range(places.count()))
    assert not page.locator("[role=tablist]").first.is_visible()


def test_truth_is_shown_of_selected_units_alone(visit) -> None:
    page, _ = visit("occupancy")
    page.evaluate(UNFOLD)
    articles = page.locator("article")
    for i in range(articles.count()):
        article = articles.nth(i)
        selected = "Selected" in article.locator(".badge").inner_text()
        truth = article.locator("figure[id$=-truth]")
        assert truth.locator("img").count() == selected
        assert ("Not labeled" in truth.inner_text()) is not selected
