"""A case in a browser: its address, lanes, linked charts, words and tables."""

import pytest
from big_results import big_results
from playwright.sync_api import expect
from report_results import explained, make_results, make_run

from lockstep.harness.adapters.trace import Parameter

AT = "#case-0000/flax_4"


def readout(page):
    return page.locator(".readout").inner_text()


def current(page):
    return page.locator(".lane[aria-current='true']")


def chart(page, title):
    return page.locator(".chart", has=page.get_by_role("heading", name=title))


def test_a_cell_leads_to_its_run_and_back_again(open_page, few):
    with open_page(few) as report:
        page = report.page
        page.get_by_role("searchbox").fill("case-0")
        page.locator("#overview-table td a", has_text="diverge").nth(1).click()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0000")
        assert page.url.endswith("#case-0000/flax_4/4")
        assert page.evaluate("document.activeElement.tagName") == "H1"
        page.go_back()
        expect(page.locator("#overview-table")).to_be_visible()
        assert page.get_by_role("searchbox").input_value() == "case-0"
        page.go_forward()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0000")
        page.get_by_role("link", name="Next case").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("case-0001")


def test_an_address_names_case_backend_and_timestep(open_page, few):
    with open_page(few, f"{AT}/17") as report:
        assert current(report.page).get_attribute("aria-label").startswith("flax_4, c")
        assert current(report.page).get_attribute("aria-valuenow") == "17"
        assert "timestep 17" in readout(report.page)
        assert report.page.title() == "case-0000 \N{EN DASH} Lockstep report"


def test_names_in_addresses_are_encoded(open_results):
    name = "a/b #1 %41 ü?"
    with open_results(
        make_results(make_run(name, "x/y", sigma={"h": [1.0, 2.0]}), make_run("other", sigma={"h": [1.0]}))
    ) as report:
        report.page.get_by_role("link", name=name).click()
        expect(report.page.get_by_role("heading", level=1)).to_have_text(name)
        report.page.keyboard.press("Tab")
        report.page.locator(".lane").first.locator(".plot").click(position={"x": 5, "y": 5})
        assert report.page.url.endswith("#a%2Fb%20%231%20%2541%20%C3%BC%3F/x%2Fy/0")


@pytest.mark.parametrize(
    ("address", "said"),
    [("#no-such", "This report has no case “no-such”."), ("#%E0%A4%A", "This report has no case"),
     ("#case-0000/none", "no backend “none”"),
     (f"{AT}/999", "“999” is not a timestep of this case: it has timesteps 0 to 49."),
     (f"{AT}/x", "“x” is not a timestep")],
)  # fmt: skip
def test_an_unknown_address_says_so(open_page, few, address, said):
    with open_page(few, address) as report:
        assert said in report.page.get_by_role("alert").inner_text()


def test_every_backend_and_tensor_has_a_lane(open_page, few):
    with open_page(few, AT) as report:
        labels = report.page.locator(".lane").evaluate_all("lanes => lanes.map(lane => lane.ariaLabel)")
        assert labels == [
            f"{name}, {tensor}" for name in ("tf_1", "jax_2", "keras_3", "flax_4") for tensor in ("c", "h")
        ]
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
        flag = report.page.locator(".flag").evaluate("flag => flag.style.left")
        assert flag == "62.5%"
        assert "backward" not in current(report.page).get_attribute("aria-label")
        report.go("#back")
        assert "computed backward in time" in current(report.page).get_attribute("aria-label")
        assert "◀" in current(report.page).inner_text()


def test_keys_move_the_cursor_in_time_and_between_lanes(open_page, few):
    with open_page(few, f"{AT}/10") as report:
        page = report.page
        current(page).focus()
        page.keyboard.press("ArrowRight")
        assert "timestep 11" in readout(page)
        assert page.url.endswith("/flax_4/11")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.ariaLabel") == "keras_3, c"
        assert page.url.endswith("/keras_3/11")
        assert "keras_3" in page.locator(".aside h2").first.inner_text()
        for key, t in (("Home", 0), ("ArrowLeft", 0), ("End", 49), ("PageUp", 39)):
            page.keyboard.press(key)
            assert current(page).get_attribute("aria-valuenow") == str(t)
        assert "beyond the limit, first divergence" in current(page).get_attribute("aria-valuetext")


def test_a_click_in_a_lane_or_chart_moves_all_cursors(open_page, few):
    with open_page(few, AT) as report:
        page = report.page
        plot = page.locator("[data-of='4 h'] .plot")
        box = plot.bounding_box()
        plot.click(position={"x": box["width"] * 0.305, "y": 8})
        assert "h[15, " in readout(page)
        expect(chart(page, "Values of h")).to_have_count(1)
        plot = chart(page, "Error in sigma").locator(".plot")
        plot.click(position={"x": plot.bounding_box()["width"] * 0.905, "y": 20})
        assert "h[45, " in readout(page)
        places = page.locator(".plot").evaluate_all(
            "plots => plots.map(plot => getComputedStyle(plot, '::after').left)"
        )
        wide = page.locator(".plot").evaluate_all("plots => plots.map(plot => plot.clientWidth)")
        assert all(
            float(left[:-2]) / width == pytest.approx(0.91, abs=0.01) for left, width in zip(places, wide, strict=True)
        )


def test_observed_expected_and_counterfactual_are_drawn_and_told(open_page, few):
    with open_page(few, f"{AT}/30") as report:
        values = chart(report.page, "Values of c")
        assert values.locator(".plot path.line").evaluate_all("lines => lines.map(line => line.className.baseVal)") == [
            "line expected", "line observed", "line counter",
        ]  # fmt: skip
        expect(values.locator(".band")).to_have_count(1)
        assert "too thin to see" in values.inner_text()
        told = [float(text) for text in values.locator("b").all_inner_texts()]
        # The diagnosis' fault gives what was observed, not what was expected.
        assert abs(told[2] - told[1]) < 0.01 * abs(told[1] - told[0])
        less = chart(report.page, "Observed - expected")
        expect(less.locator(".band")).to_have_count(1)
        error = chart(report.page, "Error in sigma")
        expect(error.locator(".limit-line")).to_have_count(1)
        assert "limit 10" in error.inner_text()


def test_local_is_drawn_against_accumulated_where_it_is_known(open_page, few):
    with open_page(few, AT) as report:
        local = chart(report.page, "Single timesteps against the whole run")
        expect(local.locator(".plot path.line")).to_have_count(2)
        assert "Replayed from your own previous state, timestep 4 is still wrong" in local.inner_text()
        report.go("#case-0000/keras_3")
        assert "Single timesteps could not be replayed" in report.page.locator(".case").inner_text()


def test_the_heat_map_is_told_in_text_and_as_a_table(open_page, few):
    with open_page(few, f"{AT}/30") as report:
        picture = chart(report.page, "All units of c").get_by_role("img")
        assert "time across, 8 units down. Worst:" in picture.get_attribute("aria-label")
        report.page.get_by_text("The heat map as a table").click()
        rows = report.page.get_by_role("region", name="Largest sigma of c by time and unit").locator("tbody tr")
        expect(rows).to_have_count(50)
        assert "of 8" in rows.nth(30).inner_text()


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
        assert "the worst of" in readout(report.page)


def test_backends_agree_pairwise(open_page, few):
    with open_page(few, AT) as report:
        table = report.page.get_by_role("region", name="Largest difference between each two backends")
        assert table.locator("thead th").all_inner_texts() == ["", "tf_1", "jax_2", "keras_3", "flax_4"]
        assert table.locator("tbody tr").nth(0).locator("td").nth(3).inner_text().startswith("✕")
        assert not table.locator("tbody tr").nth(0).locator("td").nth(1).inner_text().startswith("✕")


def test_the_diagnosis_is_told_in_words(open_results):
    with open_results(explained(), "#ones") as report:
        aside = report.page.locator(".aside")
        told = dict(
            zip(aside.locator(".words dt").all_inner_texts(), aside.locator(".words dd").all_inner_texts(), strict=True)
        )
        assert told["Why"] == "The state is not carried. state-reset"
        assert told["Proof"] == "The reference with this mistake reproduces every number to 1.4 sigma."
        assert told["Fix"] == "Feed it into the next step."
        assert "Fits these numbers equally well state-zero. Case batch tells some of them apart." in told["Or"]
        assert told["Notes"] == "x came as float64: converted"
        assert aside.get_by_role("link", name="batch").get_attribute("href") == "#batch"
        report.go("#ones/other")
        assert "wrong units of h: all 7" in report.page.locator(".aside").inner_text()


def test_parameters_and_facts_of_the_call_are_told(open_page, few):
    with open_page(few, AT) as report:
        created = report.page.get_by_role("region", name="Variables created by the framework")
        expect(created.locator("tbody tr")).to_have_count(4)
        assert "10 sigma, the default" in report.page.locator(".aside").inner_text()


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
        assert "ValueError: bad kernel" in report.page.locator(".aside").inner_text()
        assert "line 7" in report.page.locator(".aside pre").first.inner_text()


def test_what_diverges_is_copied_as_markdown_and_as_a_command(open_page, few):
    with open_page(few, AT, permissions=["clipboard-read", "clipboard-write"]) as report:
        report.page.get_by_role("button", name="Copy command").click()
        expect(report.page.get_by_text("Copied.")).to_be_visible()
        assert report.page.evaluate("navigator.clipboard.readText()") == "lockstep run case-0000 --backend flax_4"
        report.page.get_by_role("button", name="Copy as Markdown").click()
        expect(report.page.get_by_text("Copied.")).to_have_count(2)
        copied = report.page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("### `flax_4` diverges from the reference in `case-0000`")


def test_where_copying_is_refused_the_text_is_selected(open_page, few):
    with open_page(few, AT) as report:
        report.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')) }")
        report.page.get_by_role("button", name="Copy command").click()
        expect(report.page.get_by_text("the text is selected")).to_be_visible()
        assert (
            report.page.evaluate("getSelection().toString() || document.activeElement.value")
            == "lockstep run case-0000 --backend flax_4"
        )


def test_older_results_say_what_they_lack(open_results):
    with open_results(make_results(make_run(sigma={"h": [1.0, 40.0]})), "#ones") as report:
        assert "run it again with --html or --json" in report.page.locator(".notice").inner_text()
        expect(chart(report.page, "Error in sigma").locator("path.line")).to_have_count(1 + 1)


def test_numbers_that_are_none_are_drawn_and_told(open_results):
    runs = [make_run(backend=str(value), sigma={"h": [1.0, value, 1.0]}) for value in (float("inf"), float("nan"))]
    with open_results(make_results(*runs), "#ones/nan/1") as report:
        assert "nan sigma" in readout(report.page)
        expect(report.page.locator("[data-of='1 h'] path.nan")).to_have_count(1)


def test_a_page_of_one_case_leads_back_to_the_report(open_page, few):
    with open_page(few.parent / "details" / "case-0003.html") as report:
        assert report.page.get_by_role("heading", level=1).inner_text() == "case-0002"
        expect(chart(report.page, "Values of")).to_have_count(1)
        report.page.get_by_role("link", name="The whole report").click()
        report.page.wait_for_selector("#overview-table")
        report.page.get_by_role("link", name="case-0002", exact=True).click()
        report.page.get_by_role("link", name="This case in full detail").click()
        report.page.wait_for_url("**/details/case-0003.html#case-0002**")


def test_a_long_case_is_drawn_and_reaches_every_worst_timestep(open_results):
    sigma = [0.5] * 10_000
    sigma[7_301] = 800.0
    with open_results(make_results(make_run(sigma={"h": sigma})), "#ones") as report:
        assert "800 sigma" in readout(report.page)
        assert "t = 7301" in report.page.locator(".now").inner_text()
        current(report.page).focus()
        report.page.keyboard.press("ArrowRight")
        assert int(current(report.page).get_attribute("aria-valuenow")) > 7_310
