"""A case in a browser: its address, lanes, linked charts, words and tables."""

import re

import pytest
from big_results import big_results
from playwright.sync_api import expect
from report_results import explained, make_results, make_run

from lockstep.harness.adapters.trace import Parameter

AT = "#case-0000/flax_4"


def readout(page):
    return expect(page.locator(".readout"))


def current(page):
    return page.locator(".lane[aria-current='true']")


def chart(page, title):
    return page.locator(".chart", has=page.get_by_role("heading", name=title))


def test_a_cell_leads_to_its_run_and_back_again(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.get_by_role("searchbox").fill("case-0")
        page.locator(".grid-scroll td a", has_text="diverge").nth(1).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0000")
        expect(page).to_have_url(re.compile(re.escape("#case-0000/flax_4/4") + "$"))
        report.evaluates("document.activeElement.tagName", "H1")
        page.go_back()
        expect(page.locator(".grid-scroll")).to_be_visible()
        expect(page.get_by_role("searchbox")).to_have_value("case-0")
        page.go_forward()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0000")
        page.get_by_role("link", name="Next case").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0001")


def test_an_address_names_case_backend_and_timestep(open_page, few):
    with open_page(few, f"{AT}/17") as report:
        expect(current(report.page)).to_have_attribute("aria-label", re.compile("^flax_4, c"))
        expect(current(report.page)).to_have_attribute("aria-valuenow", "17")
        readout(report.page).to_contain_text("timestep 17")
        expect(report.page).to_have_title("case-0000 \N{EN DASH} Lockstep report")


def test_names_in_addresses_are_encoded(open_results):
    name = "a/b #1 %41 ü?"
    with open_results(
        make_results(make_run(name, "x/y", sigma={"h": [1.0, 2.0]}), make_run("other", sigma={"h": [1.0]}))
    ) as report:
        report.page.get_by_role("link", name=name).click()
        expect(report.page.get_by_role("heading", level=1)).to_have_text(name)
        report.page.keyboard.press("Tab")
        report.page.locator(".lane").first.locator(".plot").click(position={"x": 5, "y": 5})
        expect(report.page).to_have_url(re.compile(re.escape("#a%2Fb%20%231%20%2541%20%C3%BC%3F/x%2Fy/0") + "$"))


@pytest.mark.parametrize(
    ("address", "said"),
    [("#no-such", "This report has no case “no-such”."), ("#%E0%A4%A", "This report has no case"),
     ("#case-0000/none", "no backend “none”"),
     (f"{AT}/999", "“999” is not a timestep of this case: it has timesteps 0 to 49."),
     (f"{AT}/x", "“x” is not a timestep")],
)  # fmt: skip
def test_an_unknown_address_says_so(open_page, few, address, said):
    with open_page(few, address) as report:
        expect(report.page.get_by_role("alert")).to_contain_text(said)


def test_every_backend_and_tensor_has_a_lane(open_page, few):
    with open_page(few, AT) as report:
        lanes = report.page.locator(".lane")
        wanted = [f"{name}, {tensor}" for name in ("tf_1", "jax_2", "keras_3", "flax_4") for tensor in ("c", "h")]
        report.settles(lambda: lanes.evaluate_all("lanes => lanes.map(lane => lane.ariaLabel)"), wanted)
        tones = report.page.locator("[data-of='4 c'] svg path").evaluate_all(
            "paths => paths.map(path => path.className.baseVal)"
        )
        assert any(tone.startswith("a") for tone in tones)
        assert any(tone.startswith("b") for tone in tones)


def test_many_lanes_begin_folded(open_results):
    with open_results(big_results(3, 20, 8), "#case-0002") as report:
        page = report.page
        expect(page.locator(".lane")).to_have_count(4)
        page.get_by_role("button", name="Lanes of").last.click()
        expect(page.locator(".lane")).to_have_count(8)


def test_the_first_divergence_is_marked_where_computation_reaches_it(open_results):
    forward = make_run(sigma={"h": [1.0, 1.0, 50.0, 50.0]})
    backward = make_run("back", sigma={"dx": [50.0, 50.0, 1.0, 1.0]})
    with open_results(make_results(forward, backward), "#ones") as report:
        report.settles(lambda: report.page.locator(".flag").evaluate("flag => flag.style.left"), "62.5%")
        expect(current(report.page)).not_to_have_attribute("aria-label", re.compile("backward"))
        report.go("#back")
        expect(current(report.page)).to_have_attribute("aria-label", re.compile("computed backward in time"))
        expect(current(report.page)).to_contain_text("◀")


def test_keys_move_the_cursor_in_time_and_between_lanes(open_page, few):
    with open_page(few, f"{AT}/10") as report:
        page = report.page
        current(page).focus()
        page.keyboard.press("ArrowRight")
        readout(page).to_contain_text("timestep 11")
        expect(page).to_have_url(re.compile(re.escape("/flax_4/11") + "$"))
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        report.evaluates("document.activeElement.ariaLabel", "keras_3, c")
        expect(page).to_have_url(re.compile(re.escape("/keras_3/11") + "$"))
        expect(page.locator(".aside h2").first).to_contain_text("keras_3")
        for key, t in (("Home", 0), ("ArrowLeft", 0), ("End", 49), ("PageUp", 39)):
            page.keyboard.press(key)
            expect(current(page)).to_have_attribute("aria-valuenow", str(t))
        expect(current(page)).to_have_attribute("aria-valuetext", re.compile("beyond the limit, first divergence"))


def test_a_click_in_a_lane_or_chart_moves_all_cursors(open_page, few):
    with open_page(few, AT) as report:
        page = report.page
        plot = page.locator("[data-of='4 h'] .plot")
        box = plot.bounding_box()
        plot.click(position={"x": box["width"] * 0.305, "y": 8})
        readout(page).to_contain_text("h[15, ")
        expect(chart(page, "Values of h")).to_have_count(1)
        plot = chart(page, "Error in sigma").locator(".plot")
        plot.click(position={"x": plot.bounding_box()["width"] * 0.905, "y": 20})
        readout(page).to_contain_text("h[45, ")
        share = "plots => plots.map(p => parseFloat(getComputedStyle(p, '::after').left) / p.clientWidth)"
        report.settles(
            lambda: page.locator(".plot").evaluate_all(share),
            lambda places: all(place == pytest.approx(0.91, abs=0.01) for place in places),
        )


def test_observed_expected_and_counterfactual_are_drawn_and_told(open_page, few):
    with open_page(few, f"{AT}/30") as report:
        values = chart(report.page, "Values of c")
        for k, name in enumerate(("expected", "observed", "counter")):
            expect(values.locator(".plot path.line").nth(k)).to_have_class(f"line {name}")
        expect(values.locator(".band")).to_have_count(1)
        expect(values).to_contain_text("too thin to see")
        told = [float(text) for text in values.locator("b").all_inner_texts()]
        # The diagnosis' fault gives what was observed, not what was expected.
        assert abs(told[2] - told[1]) < 0.01 * abs(told[1] - told[0])
        less = chart(report.page, "Observed - expected")
        expect(less.locator(".band")).to_have_count(1)
        error = chart(report.page, "Error in sigma")
        expect(error.locator(".limit-line")).to_have_count(1)
        expect(error).to_contain_text("limit 10")


def test_local_is_drawn_against_accumulated_where_it_is_known(open_page, few):
    with open_page(few, AT) as report:
        local = chart(report.page, "Single timesteps against the whole run")
        expect(local.locator(".plot path.line")).to_have_count(2)
        expect(local).to_contain_text("Replayed from your own previous state, timestep 4 is still wrong")
        report.go("#case-0000/keras_3")
        expect(report.page.locator(".case")).to_contain_text("Single timesteps of this run were not replayed")


def test_the_heat_map_is_told_in_text_and_as_a_table(open_page, few):
    with open_page(few, f"{AT}/30") as report:
        picture = chart(report.page, "All units of c").get_by_role("img")
        expect(picture).to_have_attribute("aria-label", re.compile("time across, 8 units down. Worst:"))
        report.page.get_by_text("The heat map as a table").click()
        rows = report.page.get_by_role("region", name="Units of c beyond the limit over time").locator("tbody tr")
        expect(rows).to_have_count(50)
        expect(rows.nth(30)).to_contain_text("of 8")


def test_every_number_is_in_a_table(open_page, few):
    with open_page(few, f"{AT}/30") as report:
        page = report.page
        expect(page.get_by_role("region", name="All tensors of this run").locator("tbody tr")).to_have_count(4)
        page.get_by_text("The selected place over time").click()
        page.get_by_text("The largest of all units over time").click()
        expect(page.get_by_role("region", name="over time").locator("tbody tr")).to_have_count(100)


def test_gradients_stand_beside_values(open_page, few):
    with open_page(few, "#case-0004/torch_0") as report:
        report.page.get_by_label("Tensor", exact=True).select_option("h")
        expect(chart(report.page, "Gradient beside it: dx").locator(".plot path.line")).to_have_count(2)
        report.page.get_by_label("Tensor", exact=True).select_option("dx")
        expect(chart(report.page, "Value beside it: h").locator(".plot path.line")).to_have_count(2)
        report.page.get_by_role("button", name="dW ").first.click()
        readout(report.page).to_contain_text("the worst of")


def test_backends_agree_pairwise(open_page, few):
    with open_page(few, AT) as report:
        table = report.page.get_by_role("region", name="Largest difference between each two backends")
        expect(table.locator("thead th")).to_have_text(["backend", "tf_1", "jax_2", "keras_3", "flax_4"])
        expect(table.locator("tbody tr").nth(0).locator("td").nth(3)).to_have_text(re.compile("^✕"))
        expect(table.locator("tbody tr").nth(0).locator("td").nth(1)).not_to_have_text(re.compile("^✕"))


def test_what_is_not_known_of_pairs_is_left_out(open_results):
    with open_results(make_results(make_run(sigma={"h": [1.0]})), "#ones") as report:
        expect(report.page.locator(".lane")).to_have_count(1)
        expect(report.page.get_by_role("heading", name="Pairwise agreement")).to_have_count(0)


def test_the_worst_beside_the_heat_map_is_that_of_the_table(open_results):
    # Beyond a million sigma all colors are alike.
    with open_results(big_results(1, 5, 50, plain=True, seed=4, largest=1e13), "#case-0000") as report:
        row = report.page.get_by_role("region", name="All tensors of this run").locator("tbody tr", has_text="diverge")
        expect(row.first).to_be_visible()
        name, _, sigma, *_ = row.first.locator("th, td").all_inner_texts()
        at = row.first.locator("td").nth(5).inner_text()
        assert float(sigma) > 1e6
        report.page.get_by_label("Tensor", exact=True).select_option(name)
        expect(chart(report.page, f"All units of {name}")).to_contain_text(f"Worst: {sigma} sigma at {at}.")


def test_the_axis_of_time_stays_in_sight_while_curves_scroll(open_page, few):
    with open_page(few, AT, width=1400, height=700) as report:
        axis = report.page.locator(".charts > .ruler")
        chart(report.page, "All units of c").scroll_into_view_if_needed()
        expect(axis).to_be_in_viewport(ratio=1)
        report.settles(lambda: axis.bounding_box()["y"], lambda y: -1 <= y < 5)
        # At the same places as the charts below it.
        plots = report.page.locator(".charts .plot")
        report.settles(
            lambda: plots.evaluate_all("plots => plots.map(plot => Math.round(plot.getBoundingClientRect().left))"),
            lambda lefts: max(lefts) - min(lefts) <= 1,
        )


@pytest.mark.parametrize("address", [AT, "#case-0002/tf_1", "#case-0004/torch_0"])
def test_legends_keep_to_their_column_and_the_table_of_tensors_is_whole(open_page, few, address):
    with open_page(few, address, width=1400) as report:
        expect(chart(report.page, "Values of")).to_have_count(1)
        report.evaluates(
            "[...document.querySelectorAll('.chart .name *')].every(part => part.getBoundingClientRect().right"
            " <= part.closest('.track').querySelector('.plot').getBoundingClientRect().left)"
        )
        region = report.page.get_by_role("region", name="All tensors of this run")
        report.settles(lambda: region.evaluate("region => region.scrollWidth - region.clientWidth"), 0)


def test_the_diagnosis_is_told_in_words(open_results):
    with open_results(explained(), "#ones") as report:
        aside = report.page.locator(".aside")
        expect(aside.locator(".words dt").first).to_have_text("Why")
        told = dict(
            zip(aside.locator(".words dt").all_inner_texts(), aside.locator(".words dd").all_inner_texts(), strict=True)
        )
        assert told["Why"] == "The state is not carried. state-reset"
        assert told["Proof"] == "The reference with this mistake reproduces every number to 1.4 sigma."
        assert told["Fix"] == "Feed it into the next step."
        assert "Fits these numbers equally well state-zero. Case batch tells some of them apart." in told["Or"]
        assert told["Notes"] == "x came as float64: converted"
        expect(aside.get_by_role("link", name="batch")).to_have_attribute("href", "#batch")
        report.go("#ones/other")
        expect(report.page.locator(".aside")).to_contain_text("wrong units of h: all 7")


def test_parameters_and_facts_of_the_call_are_told(open_page, few):
    with open_page(few, AT) as report:
        created = report.page.get_by_role("region", name="Variables created by the framework")
        expect(created.locator("tbody tr")).to_have_count(4)
        expect(report.page.locator(".aside")).to_contain_text("10 sigma, the default")


def test_who_reads_a_parameter_is_told_where_results_know_and_else_how_to_ask(open_results):
    read = Parameter("lstm/kernel:0", (9, 16), "3: iterations 0-2")
    runs = [make_run(parameters=[read]), make_run(backend="other", parameters=[Parameter("weight_ih_l0", (16, 5))])]
    with open_results(make_results(*runs), "#ones") as report:
        told = report.page.get_by_role("region", name="Parameters")
        expect(told).to_contain_text("3: iterations 0-2")
        expect(told).not_to_contain_text("lockstep variables")
        report.go("#ones/other")
        expect(told).to_contain_text("weight_ih_l0")
        expect(told).to_contain_text("lockstep variables")


def test_a_failure_is_told_with_what_it_printed(open_results):
    run = make_run(status="failed", message="ValueError: bad kernel", stderr="Traceback\n  line 7")
    with open_results(make_results(run), "#ones") as report:
        expect(report.page.locator(".aside")).to_contain_text("ValueError: bad kernel")
        expect(report.page.locator(".aside pre").first).to_contain_text("line 7")


def test_what_diverges_is_copied_as_markdown_and_as_a_command(open_page, few):
    with open_page(few, AT, permissions=["clipboard-read", "clipboard-write"]) as report:
        report.page.get_by_role("button", name="Copy command").click()
        expect(report.page.get_by_text("Copied.")).to_be_visible()
        report.evaluates("navigator.clipboard.readText()", "lockstep run case-0000 --backend flax_4")
        report.page.get_by_role("button", name="Copy as Markdown").click()
        expect(report.page.get_by_text("Copied.")).to_have_count(2)
        copied = report.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("### `flax_4` diverges from the reference in `case-0000`")


def test_where_copying_is_refused_the_text_is_selected(open_page, few):
    with open_page(few, AT) as report:
        report.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')) }")
        report.page.get_by_role("button", name="Copy command").click()
        expect(report.page.get_by_text("the text is selected")).to_be_visible()
        chosen = "getSelection().toString() || document.activeElement.value"
        report.evaluates(chosen, "lockstep run case-0000 --backend flax_4")


def test_older_results_say_what_they_lack(open_results):
    with open_results(make_results(make_run(sigma={"h": [1.0, 40.0]})), "#ones") as report:
        expect(report.page.locator(".notice")).to_contain_text("run it again with --html or --json")
        expect(chart(report.page, "Error in sigma").locator("path.line")).to_have_count(1 + 1)


def test_numbers_that_are_none_are_drawn_and_told(open_results):
    runs = [make_run(backend=str(value), sigma={"h": [1.0, value, 1.0]}) for value in (float("inf"), float("nan"))]
    with open_results(make_results(*runs), "#ones/nan/1") as report:
        readout(report.page).to_contain_text("nan sigma")
        expect(report.page.locator("[data-of='1 h'] path.nan")).to_have_count(1)


def test_a_page_of_one_case_leads_back_to_the_report(open_page, few):
    with open_page(few.parent / "details" / "case-0003.html") as report:
        expect(report.page.get_by_role("heading", level=1)).to_have_text("case-0002")
        expect(chart(report.page, "Values of")).to_have_count(1)
        report.page.get_by_role("link", name="The whole report").click()
        report.page.wait_for_selector(".grid-scroll")
        report.page.locator(".grid-scroll").get_by_role("link", name="case-0002", exact=True).click()
        report.page.get_by_role("link", name="This case in full detail").click()
        report.page.wait_for_url("**/details/case-0003.html#case-0002**")


def test_a_long_case_is_drawn_and_reaches_every_worst_timestep(open_results):
    sigma = [0.5] * 10_000
    sigma[7_301] = 800.0
    with open_results(make_results(make_run(sigma={"h": sigma})), "#ones") as report:
        readout(report.page).to_contain_text("800 sigma")
        expect(report.page.locator(".now").first).to_contain_text("t = 7301")
        current(report.page).focus()
        report.page.keyboard.press("ArrowRight")
        report.settles(lambda: int(current(report.page).get_attribute("aria-valuenow")), lambda t: t > 7_310)
