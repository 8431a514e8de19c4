"""The page of a campaign in a browser: it fits, nothing is inaccessible, and it reloads on request alone."""

from __future__ import annotations

import pytest
from looks import looks
from made_campaign import made_campaign

from lockstep.reports.search_page import write_search_page


@pytest.fixture(scope="session")
def campaign_page(tmp_path_factory):
    return write_search_page(made_campaign(), tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize(("dark", "width"), looks())
def test_it_fits_its_window_and_nothing_is_inaccessible(open_page, campaign_page, dark, width):
    from axe_playwright_python.sync_playwright import Axe

    with open_page(campaign_page, dark=dark, width=width) as report:
        report.evaluates("document.documentElement.scrollWidth", width)
        report.page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
        violations = Axe().run(report.page).response["violations"]
        assert {rule["id"]: [node["html"][:200] for node in rule["nodes"]] for rule in violations} == {}


def test_the_heat_map_shows_counts_or_errors(open_page, campaign_page):
    with open_page(campaign_page) as report:
        count, sigma = report.page.locator(".heat-scroll.count").first, report.page.locator(".heat-scroll.sigma").first
        assert (count.is_visible(), sigma.is_visible()) == (True, False)
        report.page.get_by_label("largest error", exact=True).check()
        assert (count.is_visible(), sigma.is_visible()) == (False, True)


def test_it_reloads_where_that_is_wished_and_keeps_the_wish(open_page, campaign_page):
    with open_page(campaign_page) as report:
        button = report.page.get_by_role("button", name="Reload every 15 s")
        assert button.get_attribute("aria-pressed") == "false"
        button.click()
        report.page.reload()
        assert button.get_attribute("aria-pressed") == "true"
