"""The overview in a browser: the table, its filters, search and sorting."""

import math
import re

import pytest
from playwright.sync_api import expect
from report_results import every_status, make_results, make_run

NONE = "\N{EN DASH}"
HOW = [(1600, False), (1000, True), (400, False), (400, True)]


def body_rows(page):
    return page.locator("#overview-table tbody tr:not(.gap)")


def names(page):
    return page.locator("#overview-table tbody th").all_inner_texts()


def cell_texts(page):
    return [[text.replace("\n", " ") for text in row.locator("td").all_inner_texts()] for row in body_rows(page).all()]


def chip(page, status):
    return page.get_by_role("group", name="Filters").get_by_role("button", name=status)


@pytest.mark.parametrize(("width", "dark"), HOW)
def test_the_page_fits_its_window(open_page, few, width, dark):
    with open_page(few, width=width, dark=dark) as report:
        assert report.page.evaluate("document.documentElement.scrollWidth") <= width
        expect(body_rows(report.page)).to_have_count(8)
        report.go("#case-0000/flax_4")
        assert report.page.evaluate("document.documentElement.scrollWidth") <= width


def test_each_cell_tells_status_and_worst_sigma(open_results):
    with open_results(every_status()) as report:
        assert [[" ".join(text.split()) for text in row] for row in cell_texts(report.page)] == [
            ["✓ agree 2", "✕ diverge 790", "○ unsupported", "▲ failed"],
            ["■ crashed", "◔ timeout", NONE, NONE],
        ]
        assert report.page.locator("#overview-table thead th").all_inner_texts() == [
            "case", "numpy_loop", "torch_lstm", "jax_scan", "tf_loop",
        ]  # fmt: skip


def test_the_limit_is_the_turning_point_of_the_colors(open_results):
    runs = [make_run(backend=str(sigma), sigma={"h": [sigma]}) for sigma in (0.1, 9.99, 10.01, 1e9, math.nan, math.inf)]
    with open_results(make_results(*runs)) as report:
        tones = (
            body_rows(report.page)
            .locator("td")
            .evaluate_all("cells => cells.map(cell => cell.className.split(' ')[2])")
        )
        assert tones == ["a0", "a5", "b0", "b5", "nan", "b5"]
        color = "name => getComputedStyle(document.querySelector('td.' + name)).backgroundColor"
        assert len({report.page.evaluate(color, name) for name in ("a0", "a5", "b0", "b5", "nan")}) == 5


def test_statuses_are_counted_and_filter(open_results):
    with open_results(every_status()) as report:
        page = report.page
        assert "1 diverge, 1 failed, 1 crashed, 1 timeout, 1 agree, 1 unsupported" in page.locator(".top").inner_text()
        chip(page, "crashed").click()
        assert names(page) == ["long"]
        chip(page, "failed").click()
        assert names(page) == ["ones", "long"]
        chip(page, "crashed").click()
        assert names(page) == ["ones"]
        expect(page.locator("#overview-table td.dim")).to_have_count(3)
        assert chip(page, "failed").get_attribute("aria-pressed") == "true"
        assert "1 of 2 cases" in page.locator(".count").inner_text()


def test_backends_filter(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.get_by_text("Backends", exact=True).click()
        page.get_by_label("jax_2").check()
        page.get_by_label("tf_1").check()
        assert page.locator("#overview-table thead th").all_inner_texts() == ["case", "tf_1", "jax_2"]
        page.keyboard.press("Escape")
        expect(page.get_by_label("jax_2")).to_be_hidden()
        assert page.locator("summary", has_text="Backends: 2").is_visible()


def test_features_filter(open_page, few):
    with open_page(few) as report:
        report.page.get_by_text("Features", exact=True).click()
        report.page.get_by_label("gradients").check()
        assert names(report.page) == ["case-0004"]


def test_search_finds_cases_causes_and_messages(open_page, few):
    with open_page(few) as report:
        search = report.page.get_by_role("searchbox")
        search.fill("0003")
        assert names(report.page) == ["case-0003"]
        search.fill("state-reset")
        assert 0 < len(names(report.page)) < 8
        search.fill("nothing like it")
        assert names(report.page) == []
        assert "0 of 8 cases, 0 runs" in report.page.locator(".count").inner_text()


def test_sorting_by_name_by_worst_and_as_given(open_results):
    given = {"b10": 3.0, "b9": math.nan, "a": 900.0, "c": math.inf}
    with open_results(make_results(*(make_run(name, sigma={"h": [sigma]}) for name, sigma in given.items()))) as report:
        sort = report.page.get_by_label("Sort by")
        assert names(report.page) == list(given)
        sort.select_option("by name")
        assert names(report.page) == ["a", "b9", "b10", "c"]
        sort.select_option("by worst sigma")
        assert names(report.page)[2:] == ["a", "b10"]
        sort.select_option("in the given order")
        assert names(report.page) == list(given)


def test_filters_stay_in_the_address(open_page, few):
    with open_page(few) as report:
        page = report.page
        chip(page, "diverge").click()
        page.get_by_role("searchbox").fill("reset")
        page.get_by_label("Sort by").select_option("by worst sigma")
        found = names(page)
        assert 0 < len(found) < 8
        address = "#" + page.url.partition("#")[2]
        report.go(address)
        assert names(page) == found
        assert page.get_by_role("searchbox").input_value() == "reset"
        report.go("#?status=none-such&backend=jax_2&sort=odd")
        assert page.locator("#overview-table thead th").all_inner_texts() == ["case", "jax_2"]
        page.locator("#overview-table td a").first.click()
        page.get_by_role("link", name="All cases").click()
        expect(page).to_have_url(re.compile(r"#\?backend=jax_2$"))


def test_causes_stand_together_and_link_to_their_runs(open_page, few):
    with open_page(few) as report:
        causes = report.page.locator("section", has=report.page.get_by_role("heading", name="What is wrong, by cause"))
        group = causes.locator("details", has_text="state-reset")
        assert "Every step starts from the initial h and c" in group.inner_text()
        group.locator("summary").click()
        link = group.get_by_role("link").first
        assert link.get_attribute("href").startswith("#case-0000/keras_3/")


def test_what_is_unsupported_is_told_with_its_reason(open_results):
    with open_results(every_status()) as report:
        section = report.page.locator("section", has=report.page.get_by_role("heading", name="Not supported, and why"))
        assert "JAX would narrow float64 (jax_scan)" in section.inner_text()


def test_known_findings_are_told_apart(open_results):
    known = make_run(sigma={"h": [50.0]}, known="torch-something")
    with open_results(make_results(known)) as report:
        assert cell_texts(report.page)[0][0].split() == ["◆", "known", "50"]
        assert "1 of them known" in report.page.locator(".top").inner_text()
        report.go("#ones")
        assert "lockstep findings torch-something" in report.page.locator(".aside").inner_text()


def test_the_environment_and_versions_are_told(open_page, few):
    with open_page(few) as report:
        section = report.page.locator(
            "section", has=report.page.get_by_role("heading", name="Environment and versions")
        )
        assert "Linux-6.1-x86_64" in section.inner_text()
        section.locator("summary").click()
        expect(section).to_contain_text("jax 2.2.0")


def test_no_runs_open(open_results):
    with open_results(make_results(), width=400, dark=True) as report:
        assert "No runs." in report.page.inner_text("main")


def test_arrow_keys_move_in_the_table(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.locator("#overview-table tbody a").first.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0001")
        assert "tf_1" in page.locator(".aside h2").first.inner_text()


def test_a_large_table_has_few_rows_at_once_and_reaches_all(open_page, large):
    with open_page(large, height=900) as report:
        page = report.page
        assert body_rows(page).count() < 80
        expect(page.locator("table[aria-rowcount='201']")).to_have_count(1)
        page.locator("#overview-table").evaluate("table => { table.scrollTop = table.scrollHeight }")
        expect(page.locator("#overview-table tbody th").last).to_have_text("case-0039-4")
        assert body_rows(page).count() < 80
        page.locator("#overview-table").evaluate("table => { table.scrollTop = table.scrollHeight / 2 }")
        expect(page.locator("[data-row='100']")).to_be_visible()
        page.locator("[data-row='100'] a").first.focus()
        for _ in range(20):
            page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('tr').dataset.row") == "120"
