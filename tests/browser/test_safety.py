"""What a page must never do: run what it shows, ask for addresses, be too slow, too wide or unreadable."""

import shutil
import time
from pathlib import Path

import pytest
from big_results import big_results
from looks import looks
from msgspec.structs import replace
from playwright.sync_api import expect
from report_results import HOSTILE, every_status, hostile, make_results

from lockstep.reports.html import write_html

SHOWN = HOSTILE[:40]
LARGE = 10_000_000  # bytes


@pytest.mark.parametrize("width", [1600, 400])
def test_nothing_hostile_runs_or_overflows(open_results, width):
    with open_results(hostile(), width=width) as report:
        page = report.page
        expect(page.locator(".grid-scroll tbody").first).to_contain_text(SHOWN)
        for group in page.locator("details:is(.group, .more) > summary").all():
            group.click()
        for k in range(4):
            report.evaluates("document.documentElement.scrollWidth", width)
            report.go()
            page.locator(".grid-scroll tbody a").nth(k).click()
            expect(page.locator(".case")).to_be_visible()
            for summary in page.locator("details.more > summary").all():
                summary.click()
        assert page.evaluate("window.ran") is None
        expect(page.locator("img")).to_have_count(0)
        expect(page.locator("script")).to_have_count(2)


def test_hostile_words_are_shown_as_text(open_results):
    with open_results(hostile()) as report:
        report.page.locator(".grid-scroll tbody td a").first.click()
        expect(report.page.get_by_role("heading", level=1)).to_contain_text(SHOWN)
        expect(report.page.locator(".words")).to_contain_text(SHOWN)
        text = report.page.locator("main").inner_text()
        assert not set("\x00\x1b\u202e") & set(text)
        assert report.page.evaluate("window.ran") is None


def test_a_script_that_is_not_of_the_page_does_not_run(open_page, tmp_path):
    path = write_html(every_status(), tmp_path)
    before, tag, after = path.read_text("utf-8").rpartition("</body>")
    path.write_text(f"{before}<script>window.ran = 1</script>{tag}{after}", "utf-8")
    with open_page(path, fine=False) as report:
        assert report.page.evaluate("window.ran") is None
        assert "Content Security Policy" in " ".join(report.complaints)


def test_no_address_can_be_asked(open_results):
    with open_results(make_results(), fine=False) as report:
        asked = "fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused')"
        assert report.page.evaluate(asked) == "refused"
        assert "Content Security Policy" in " ".join(report.complaints)


def test_without_scripts_the_page_tells_what_is_not_right(browser, tmp_path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(write_html(every_status(), tmp_path).as_uri())
    assert 'torch_lstm diverges from the reference in case "ones"' in page.inner_text("main")
    context.close()


@pytest.mark.parametrize(("dark", "width"), looks())
@pytest.mark.parametrize("address", ["", "#case-0000/flax_4"], ids=["overview", "case"])
def test_nothing_is_inaccessible(open_page, few, address, dark, width):
    from axe_playwright_python.sync_playwright import Axe

    with open_page(few, address, dark=dark, width=width) as report:
        report.page.evaluate("document.querySelectorAll('details:not(.choice)').forEach(part => { part.open = true })")
        violations = Axe().run(report.page).response["violations"]
        assert {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in violations} == {}


def test_colors_follow_the_system_and_the_button(open_page, few):
    back = "getComputedStyle(document.body).backgroundColor"
    with open_page(few, dark=True) as report:
        page = report.page
        dark = page.evaluate(back)
        page.emulate_media(color_scheme="light")
        light = "rgb(255, 255, 255)"
        report.evaluates(back, light)
        assert light != dark
        button = page.get_by_role("button", name="Colors")
        button.click()
        button.click()
        expect(button).to_have_text("Colors: dark")
        report.evaluates(back, dark)
        page.emulate_media(media="print")
        report.evaluates(back, light)


def test_the_skip_link_leads_to_the_content(open_page, few):
    with open_page(few) as report:
        report.page.keyboard.press("Tab")
        report.page.keyboard.press("Enter")
        report.evaluates("document.activeElement.id", "main")
        expect(report.page.locator("html")).to_have_attribute("lang", "en")


def test_focus_can_be_seen(open_page, few):
    with open_page(few) as report:
        for _ in range(3):
            report.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement).outlineStyle"
        report.evaluates(style, "solid")


@pytest.mark.parametrize("address", ["", "#case-0000/flax_4"], ids=["overview", "case"])
def test_a_page_can_be_printed(open_page, few, address, tmp_path):
    with open_page(few, address, dark=True) as report:
        file = tmp_path / "page.pdf"
        report.page.pdf(path=file, format="A4")
        assert 1 <= file.read_bytes().count(b"/Type /Page\n") + file.read_bytes().count(b"/Type /Page ") <= 8
        report.page.emulate_media(media="print")
        report.page.set_viewport_size({"width": 700, "height": 1000})
        report.evaluates("document.documentElement.scrollWidth", 700)
        expect(report.page.locator(".bar").first).to_be_hidden()


def opens(open_page, path: Path) -> float:
    start = time.monotonic()
    with open_page(path) as report:
        expect(report.page.locator(".grid-scroll tbody td a").first).to_be_visible()
        seconds = time.monotonic() - start
        assert report.page.locator(".grid-scroll td").count() < 2000
        report.page.get_by_label("Sort by").select_option("by worst sigma")
        expect(report.page.locator(".grid-scroll tbody td a").first).to_be_visible()
    return seconds


def test_a_large_run_opens_quickly(open_page, few, large):
    assert large.stat().st_size < LARGE / 4
    # Where all is slow, so is a small page.
    assert opens(open_page, large) < max(3, 5 * opens(open_page, few))


@pytest.mark.slow
def test_the_largest_run_opens_quickly_and_is_not_too_large(open_page, tmp_path):
    path = write_html(big_results(2000, 20, 20), tmp_path)
    assert path.stat().st_size < LARGE
    assert opens(open_page, path) < 3
    shutil.rmtree(tmp_path)


WHAT_IS_CUT = (Path(__file__).parent / "what_is_cut.js").read_text("utf-8")


@pytest.mark.parametrize("width", [1400, 420])
@pytest.mark.parametrize("address", ["", "#case-0004/torch_0"], ids=["overview", "case"])
def test_nothing_is_cut_without_a_sign(open_results, address, width):
    long = "A test fails with a very long message. " * 200
    results = big_results(12, 11, 50)
    runs = [replace(run, stderr=long, notes=[long]) if run.status != "agree" else run for run in results.runs]
    with open_results(replace(results, runs=runs), address, width=width) as report:
        report.page.evaluate("document.querySelectorAll('details:not(.choice)').forEach(part => { part.open = true })")
        report.evaluates(WHAT_IS_CUT, [])


def test_what_is_cut_is_noticed(open_page, few):
    with open_page(few) as report:
        report.evaluates(WHAT_IS_CUT, [])
        style = "h2 => { h2.style.cssText = 'width: 20px; overflow: hidden; white-space: nowrap' }"
        report.page.locator("h2").first.evaluate(style)
        report.evaluates(WHAT_IS_CUT, lambda found: len(found) == 1 and found[0].startswith("H2"))
