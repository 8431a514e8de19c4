"""The overview in a browser: the table, its filters, search and sorting."""

import math
import re

import pytest
from big_results import big_results
from playwright.sync_api import expect
from report_results import every_status, make_results, make_run

from lockstep.harness.cases.info import CaseInfo
from lockstep.harness.comparison.results import Diagnosis, Source

SOME = re.compile(r"^[1-7] of 8 cases")
NONE = "\N{EN DASH}"
HOW = [(1600, False), (1000, True), (400, False), (400, True)]


def body_rows(page):
    return page.locator(".grid-scroll tbody tr:not(.gap)")


def names(page):
    return page.locator(".grid-scroll tbody th")


def heads(page):
    return page.locator(".grid-scroll thead th")


def cell_texts(page):
    return [[" ".join(text.split()) for text in row.locator("td").all_inner_texts()] for row in body_rows(page).all()]


def section(page, heading):
    return page.locator("section", has=page.get_by_role("heading", name=heading))


def chip(page, status):
    return page.get_by_role("group", name="Filters").get_by_role("button", name=status)


@pytest.mark.parametrize(("width", "dark"), HOW)
def test_the_page_fits_its_window(open_page, few, width, dark):
    with open_page(few, width=width, dark=dark) as report:
        expect(body_rows(report.page)).to_have_count(8)
        report.evaluates("document.documentElement.scrollWidth", width)
        report.go("#case-0000/flax_4")
        report.evaluates("document.documentElement.scrollWidth", width)


def test_each_cell_tells_status_first_wrong_timestep_and_worst_sigma(open_results):
    with open_results(every_status()) as report:
        expect(heads(report.page)).to_have_text(["case", "numpy_loop", "torch_lstm", "jax_scan", "tf_loop"])
        wanted = [
            ["✓ agree 2", "✕ diverge t 1 790", "○ unsupported", "▲ failed"],
            ["■ crashed", "◔ timeout", NONE, NONE],
        ]
        report.settles(lambda: cell_texts(report.page), wanted)


def test_the_limit_is_the_turning_point_of_the_colors(open_results):
    runs = [make_run(backend=str(sigma), sigma={"h": [sigma]}) for sigma in (0.1, 9.99, 10.01, 1e9, math.nan, math.inf)]
    with open_results(make_results(*runs)) as report:
        cells = body_rows(report.page).locator("td")
        report.settles(
            lambda: cells.evaluate_all("cells => cells.map(cell => cell.className.split(' ')[2])"),
            ["a0", "a5", "b0", "b5", "nan", "b5"],
        )
        color = "name => getComputedStyle(document.querySelector('td.' + name)).backgroundColor"
        assert len({report.page.evaluate(color, name) for name in ("a0", "a5", "b0", "b5", "nan")}) == 5


def test_statuses_are_counted_and_filter(open_results):
    with open_results(every_status()) as report:
        page = report.page
        expect(page.locator(".top")).to_contain_text(
            "1 diverge, 1 failed, 1 crashed, 1 timeout, 1 agree, 1 unsupported"
        )
        chip(page, "crashed").click()
        expect(names(page)).to_have_text(["long"])
        chip(page, "failed").click()
        expect(names(page)).to_have_text(["ones", "long"])
        chip(page, "crashed").click()
        expect(names(page)).to_have_text(["ones"])
        expect(page.locator(".grid-scroll td.dim")).to_have_count(3)
        expect(chip(page, "failed")).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".count")).to_contain_text("1 of 2 cases")


def test_backends_filter(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.get_by_text("Backends", exact=True).click()
        page.get_by_label("jax_2").check()
        page.get_by_label("tf_1").check()
        expect(heads(page)).to_have_text(["case", "tf_1", "jax_2"])
        page.keyboard.press("Escape")
        expect(page.get_by_label("jax_2")).to_be_hidden()
        expect(page.locator("summary", has_text="Backends: 2")).to_be_visible()


def test_features_filter(open_page, few):
    with open_page(few) as report:
        report.page.get_by_text("Features", exact=True).click()
        report.page.get_by_label("gradients").check()
        expect(names(report.page)).to_have_text(["case-0004"])


def test_search_finds_cases_causes_and_messages(open_page, few):
    with open_page(few) as report:
        search = report.page.get_by_role("searchbox")
        search.fill("0003")
        expect(names(report.page)).to_have_text(["case-0003"])
        search.fill("state-reset")
        expect(report.page.locator(".count")).to_have_text(SOME)
        search.fill("nothing like it")
        expect(names(report.page)).to_have_count(0)
        expect(report.page.locator(".count")).to_have_text("0 of 8 cases, 0 runs")


def test_sorting_by_name_by_worst_and_as_given(open_results):
    given = {"b10": 3.0, "b9": math.nan, "a": 900.0, "c": math.inf}
    with open_results(make_results(*(make_run(name, sigma={"h": [sigma]}) for name, sigma in given.items()))) as report:
        sort = report.page.get_by_label("Sort by")
        expect(names(report.page)).to_have_text(list(given))
        sort.select_option("by name")
        expect(names(report.page)).to_have_text(["a", "b9", "b10", "c"])
        sort.select_option("by worst sigma")
        expect(names(report.page)).to_have_text([re.compile("b9|c"), re.compile("b9|c"), "a", "b10"])
        sort.select_option("in the given order")
        expect(names(report.page)).to_have_text(list(given))


def test_filters_stay_in_the_address(open_page, few):
    with open_page(few) as report:
        page = report.page
        chip(page, "diverge").click()
        page.get_by_role("searchbox").fill("reset")
        page.get_by_label("Sort by").select_option("by worst sigma")
        expect(page.locator(".count")).to_have_text(SOME)
        # What the browser tells of an address may be older than the address.
        report.evaluates("location.hash", "#?search=reset&status=diverge&sort=worst")
        found = names(page).all_inner_texts()
        report.go(page.evaluate("location.hash"))
        expect(names(page)).to_have_text(found)
        expect(page.get_by_role("searchbox")).to_have_value("reset")
        report.go("#?status=none-such&backend=jax_2&sort=odd")
        expect(heads(page).first).to_have_text("case")
        expect(heads(page)).to_have_text(["case", "jax_2"])
        page.locator(".grid-scroll td a").first.click()
        page.get_by_role("link", name="All cases").click()
        report.evaluates("location.hash", "#?backend=jax_2")


def test_a_cause_begins_the_report_with_where_why_fix_and_how_to_see_it_again(open_page, few):
    with open_page(few, permissions=["clipboard-read", "clipboard-write"]) as report:
        banner = report.page.locator(".banner", has_text="state-reset")
        expect(banner.get_by_role("heading")).to_contain_text("cell state c")
        expect(banner).to_contain_text("Every step starts from the initial h and c")
        expect(banner).to_contain_text("Feed h and c of the step before")
        expect(banner.get_by_role("link").first).to_have_attribute("href", re.compile("^#case-0000/keras_3/"))
        expect(
            banner.get_by_role("img", name=re.compile(r"^c at \[.*At timestep \d+: observed .*, expected ")).first
        ).to_be_visible()
        banner.get_by_role("button", name="Copy command").click()
        expect(banner.get_by_text("Copied.")).to_be_visible()
        report.evaluates("navigator.clipboard.readText()", "lockstep run case-0000 --backend keras_3")
        expect(report.page.locator("main > div > *").first).to_have_attribute("aria-labelledby", "causes")


def test_causes_come_by_how_many_runs_they_explain_and_known_ones_last(open_results):
    few_runs, many_runs = (Diagnosis(fault=name, message=f"{name} it is.") for name in ("rare", "often"))
    sigma = {"h": [1.0, 50.0]}
    runs = [make_run("a", sigma=sigma, diagnosis=[few_runs])]
    runs += [make_run(name, sigma=sigma, known="a-finding") for name in "bcde"]
    runs += [make_run(name, sigma=sigma, diagnosis=[many_runs]) for name in "fgh"]
    with open_results(make_results(*runs)) as report:
        expect(report.page.locator(".banner .fault")).to_have_text(["often", "rare"])
        expect(report.page.locator(".banner .many")).to_have_text(["3 runs in 3 cases", "1 run in 1 case"])
        report.page.get_by_text("All 3 runs").click()
        expect(report.page.locator(".banner .links a")).to_have_count(3)
        expect(section(report.page, "Known findings, as expected")).to_contain_text("4 runs in 4 cases")


def test_the_source_of_a_port_stands_beside_the_cause_with_the_numbers_of_its_lines(open_results):
    text = "def port(x):\n" + "\n".join(f"    y{k} = x  # <script>window.ran = 1</script>" for k in range(40))
    source = Source("my_lstm.py", 17, text)
    run = make_run(sigma={"h": [1.0, 50.0]})
    with open_results(make_results(run, sources={run.backend: source})) as report:
        figure = report.page.locator(".port-source")
        expect(figure).to_contain_text("my_lstm.py:17")
        expect(figure.locator(".line-number")).to_have_text([str(17 + k) for k in range(24)])
        report.page.get_by_text("17 more lines").click()
        expect(figure.locator(".line-number").last).to_have_text("57")
        assert report.page.evaluate("window.ran") is None


def test_curves_too_near_to_be_told_apart_are_shown_by_their_difference(open_page, few):
    with open_page(few) as report:
        expect(report.page.locator(".small-plot figcaption b").first).to_be_visible()
        names_of_plots = report.page.locator(".small-plot figcaption b").all_inner_texts()
        assert any(name.endswith("observed \N{MINUS SIGN} expected") for name in names_of_plots)


def test_one_backend_has_a_list_with_the_error_over_time(open_results):
    runs = [
        make_run("wrong", sigma={"h": [1.0, 50.0, 40.0], "c": [1.0, 1.0, 2.0]}),
        make_run("right", sigma={"h": [1.0, 2.0]}),
    ]
    with open_results(make_results(*runs)) as report:
        expect(heads(report.page)).to_have_text(
            ["case", "status", "first wrong timestep", "worst error", "error over time"]
        )
        report.settles(lambda: cell_texts(report.page), [
            ["✕ diverge", "t 1, h", "50 sigma in h", ""], ["✓ agree", NONE, "2 sigma in h", ""],
        ])  # fmt: skip
        lines = report.page.locator(".runs path.line")
        expect(lines).to_have_count(2)
        report.settles(lambda: lines.first.get_attribute("d").count("L"), 2)
        report.evaluates("document.querySelector('.runs').clientWidth > 1400")


def test_layers_and_decoders_have_a_table_each(open_results):
    info = {
        "description": "",
        "features": [],
        "timesteps": 1,
        "batch": 1,
        "input_size": 1,
        "hidden_size": 1,
        "dtype": "float32",
    }
    cases = {name: CaseInfo(**info, model=model) for name, model in (("a", "lstm"), ("b", "attention_decoder"))}
    runs = [
        make_run(case, f"{kind}_{k}", sigma={"h": [1.0]})
        for case, kind in (("a", "layer"), ("b", "decoder"))
        for k in (1, 2)
    ]
    with open_results(make_results(*runs, cases=cases)) as report:
        expect(report.page.locator("section.cases h2")).to_have_text(["Layers", "Decoders"])
        expect(heads(report.page)).to_have_text(["case", "layer_1", "layer_2", "case", "decoder_1", "decoder_2"])
        expect(report.page.locator("td.none")).to_have_count(0)


def test_ports_that_tests_checked_are_listed_test_by_test(open_results):
    named = "port (tests/test_mine.py::test_{})"
    runs = [
        make_run(case, named.format(test), sigma={"h": [1.0, 20.0]}) for case in ("a", "b") for test in ("one", "two")
    ]
    with open_results(make_results(*runs)) as report:
        expect(report.page.locator("section.cases h2")).to_have_text(["Tests"])
        expect(names(report.page)).to_have_text(["test_one test_mine.py"] * 2 + ["test_two test_mine.py"] * 2)
        names(report.page).last.get_by_role("link").click()
        expect(report.page.get_by_role("heading", level=1)).to_have_text("b")
        expect(report.page.locator(".aside h2").first).to_contain_text(named.format("two"))


@pytest.mark.parametrize(
    ("backends", "width", "mode"), [(3, 1400, "wide"), (11, 1400, "full"), (40, 1400, "spots"), (11, 420, "spots")]
)
def test_columns_say_less_where_there_is_little_room_and_still_fit(open_results, backends, width, mode):
    runs = [make_run(backend=f"backend_{k}", sigma={"h": [1.0] * 17 + [1e3 * k + 11]}) for k in range(backends)]
    with open_results(make_results(*runs), width=width) as report:
        report.evaluates("document.querySelector('.grid-scroll table').className", mode)
        report.evaluates("document.documentElement.scrollWidth", width)
        report.evaluates("!document.querySelector('.signed:has(> .grid-scroll)').classList.contains('more-right')")
        shown = report.page.locator("td .first")
        expect(shown).to_have_text(["t 17"] * backends)
        # In the narrowest columns 17 alone is seen; the rest is told to those who listen.
        narrow = "<=" if mode == "spots" else ">"
        report.evaluates(f"document.querySelector('td .t').getBoundingClientRect().width {narrow} 1")
        report.evaluates("[...document.querySelectorAll('td a')].every(a => a.scrollWidth <= a.clientWidth)")


def test_what_goes_on_beyond_an_edge_has_a_sign_there(open_results):
    with open_results(big_results(60, 40, 4, plain=True), width=420, height=700) as report:
        box, page = report.page.locator(".signed:has(> .grid-scroll)"), report.page
        expect(box).to_have_class(re.compile("more-right.*more-below|more-below.*more-right"))
        page.locator(".grid-scroll").evaluate("scroll => scroll.scrollTo(1e6, 1e6)")
        expect(box).to_have_class("signed")


def test_the_header_says_when_by_which_command_and_with_which_versions(open_results):
    run = make_run(sigma={"h": [1.0]}, versions={"torch": "2.5.1"})
    results = make_results(run)
    results.environment.update(command="lockstep check my.py:port", time="2026-11-29T15:05:37+00:00", lockstep="0.2.0")
    with open_results(results) as report:
        expect(report.page.locator(".came > span")).to_have_text(
            ["2026-11-29 15:05 UTC", "lockstep check my.py:port", "lockstep 0.2.0, python 3.11.7, torch 2.5.1"]
        )


def test_what_is_unsupported_is_told_with_its_reason(open_results):
    with open_results(every_status()) as report:
        expect(section(report.page, "Not supported, and why")).to_contain_text("JAX would narrow float64 (jax_scan)")


def test_known_findings_are_told_apart(open_results):
    known = make_run(sigma={"h": [50.0]}, known="torch-something")
    with open_results(make_results(known)) as report:
        report.settles(lambda: cell_texts(report.page)[0][:3], ["◆ known", "t 0, h", "50 sigma in h"])
        expect(report.page.locator(".top")).to_contain_text("1 of them known")
        report.go("#ones")
        expect(report.page.locator(".aside")).to_contain_text("lockstep findings torch-something")


def test_the_environment_and_versions_are_told(open_page, few):
    with open_page(few) as report:
        told = section(report.page, "Environment and versions")
        expect(told).to_contain_text("Linux-6.1-x86_64")
        told.locator("summary").click()
        expect(told).to_contain_text("jax 2.2.0")


def test_no_runs_open(open_results):
    with open_results(make_results(), width=400, dark=True) as report:
        expect(report.page.locator("main")).to_contain_text("No runs.")


def test_arrow_keys_move_in_the_table(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.locator(".grid-scroll tbody a").first.focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0001")
        expect(page.locator(".aside h2").first).to_contain_text("tf_1")


def test_a_large_table_has_few_rows_at_once_and_reaches_all(open_page, large):
    with open_page(large, height=900) as report:
        page = report.page
        expect(page.locator("table[aria-rowcount='201']")).to_have_count(1)
        report.settles(body_rows(page).count, lambda count: 0 < count < 80)
        page.locator(".grid-scroll").evaluate("table => { table.scrollTop = table.scrollHeight }")
        expect(page.locator(".grid-scroll tbody th").last).to_have_text("case-0039-4")
        report.settles(body_rows(page).count, lambda count: 0 < count < 80)
        page.locator(".grid-scroll").evaluate("table => { table.scrollTop = table.scrollHeight / 2 }")
        expect(page.locator("[data-row='100']")).to_be_visible()
        page.locator("[data-row='100'] a").first.focus()
        for _ in range(20):
            page.keyboard.press("ArrowDown")
        report.evaluates("document.activeElement.closest('tr')?.dataset.row", "120")
