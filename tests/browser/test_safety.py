"""What a page must never do: run what it shows, ask for addresses, be too slow, too wide or unreadable."""

import shutil
import time
from pathlib import Path

import pytest
from big_results import big_results
from playwright.sync_api import expect
from report_results import HOSTILE, every_status, hostile, make_results

from lockstep.reports.html import write_html

SHOWN = HOSTILE[:40]
LARGE = 10_000_000  # bytes


@pytest.mark.parametrize("width", [1600, 400])
def test_nothing_hostile_runs_or_overflows(open_results, width):
    with open_results(hostile(), width=width) as report:
        page = report.page
        assert SHOWN in page.locator("#overview-table tbody").inner_text()
        for group in page.locator("details.group > summary").all():
            group.click()
        for k in range(4):
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            report.go()
            page.locator("#overview-table tbody a").nth(k).click()
            expect(page.locator(".case")).to_be_visible()
            for summary in page.locator("details.more > summary").all():
                summary.click()
        assert page.evaluate("window.ran") is None
        expect(page.locator("img")).to_have_count(0)
        expect(page.locator("script")).to_have_count(2)


def test_hostile_words_are_shown_as_text(open_results):
    with open_results(hostile()) as report:
        report.page.locator("#overview-table tbody td a").first.click()
        text = report.page.locator("main").inner_text()
        assert SHOWN in report.page.get_by_role("heading", level=1).inner_text()
        assert SHOWN in report.page.locator(".words").inner_text()
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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("address", ["", "#case-0000/flax_4"], ids=["overview", "case"])
def test_nothing_serious_is_inaccessible(open_page, few, address, dark):
    from axe_playwright_python.sync_playwright import Axe

    with open_page(few, address, dark=dark) as report:
        for summary in report.page.locator("details.group > summary, details.more > summary").all():
            summary.click()
        found = Axe().run(report.page).response["violations"]
        serious = {
            one["id"]: [node["html"][:200] for node in one["nodes"]]
            for one in found
            if one["impact"] in {"serious", "critical"}
        }
        assert serious == {}


def test_colors_follow_the_system_and_the_button(open_page, few):
    back = "getComputedStyle(document.body).backgroundColor"
    with open_page(few, dark=True) as report:
        page = report.page
        dark = page.evaluate(back)
        page.emulate_media(color_scheme="light")
        light = page.evaluate(back)
        assert light == "rgb(255, 255, 255)" != dark
        button = page.get_by_role("button", name="Colors")
        button.click()
        button.click()
        assert button.inner_text() == "Colors: dark"
        assert page.evaluate(back) == dark
        page.emulate_media(media="print")
        assert page.evaluate(back) == light


def test_the_skip_link_leads_to_the_content(open_page, few):
    with open_page(few) as report:
        report.page.keyboard.press("Tab")
        report.page.keyboard.press("Enter")
        assert report.page.evaluate("document.activeElement.id") == "main"
        assert report.page.locator("html").get_attribute("lang") == "en"


def test_focus_can_be_seen(open_page, few):
    with open_page(few) as report:
        for _ in range(3):
            report.page.keyboard.press("Tab")
        style = "getComputedStyle(document.activeElement).outlineStyle"
        assert report.page.evaluate(style) == "solid"


@pytest.mark.parametrize("address", ["", "#case-0000/flax_4"], ids=["overview", "case"])
def test_a_page_can_be_printed(open_page, few, address, tmp_path):
    with open_page(few, address, dark=True) as report:
        file = tmp_path / "page.pdf"
        report.page.pdf(path=file, format="A4")
        assert 1 <= file.read_bytes().count(b"/Type /Page\n") + file.read_bytes().count(b"/Type /Page ") <= 8
        report.page.emulate_media(media="print")
        report.page.set_viewport_size({"width": 700, "height": 1000})
        assert report.page.evaluate("document.documentElement.scrollWidth") <= 700
        hidden = report.page.locator(".bar").first
        assert not hidden.is_visible()


def opens(open_page, path: Path) -> float:
    start = time.monotonic()
    with open_page(path) as report:
        expect(report.page.locator("#overview-table tbody td a").first).to_be_visible()
        seconds = time.monotonic() - start
        assert report.page.locator("#overview-table td").count() < 2000
        report.page.get_by_label("Sort by").select_option("by worst sigma")
        expect(report.page.locator("#overview-table tbody td a").first).to_be_visible()
    return seconds


def test_a_large_run_opens_quickly(open_page, large):
    assert large.stat().st_size < LARGE / 4
    assert opens(open_page, large) < 3


@pytest.mark.slow
def test_the_largest_run_opens_quickly_and_is_not_too_large(open_page, tmp_path):
    path = write_html(big_results(2000, 20, 20), tmp_path)
    assert path.stat().st_size < LARGE
    assert opens(open_page, path) < 3
    shutil.rmtree(tmp_path)
