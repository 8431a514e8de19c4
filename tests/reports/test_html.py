import math
import re
import time
from html.parser import HTMLParser

import pytest

from reports.charts import COLORS
from reports.html import PAGE, render, write_html

NONE = "\N{EN DASH}"


class Document(HTMLParser):
    """A page as a browser reads it: its elements, and its text without that of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.hidden = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.hidden = tag in {"script", "style"}

    def handle_endtag(self, tag):  # noqa: ARG002 - the parser's own name
        self.hidden = False

    def handle_data(self, data):
        if not self.hidden:
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def shown(page):
    return Document(page).text


def cell_texts(page):
    """The texts of the table of runs, row by row."""
    table = re.search(r'<table id="runs">.*?</table>', page, flags=re.DOTALL)[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, flags=re.DOTALL)
    return [[shown(cell).strip() for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, flags=re.DOTALL)] for row in rows]


# The text of the page


def test_the_table_has_every_case_and_backend_with_its_status(every_status):
    assert cell_texts(render(every_status)) == [
        ["case", "numpy_loop", "torch_lstm", "jax_scan", "tf_loop"],
        ["ones", "agree 2", "diverge 790", "unsupported", "failed"],
        ["long", "crashed", "timeout", NONE, NONE],
    ]


def test_statuses_are_counted(every_status):
    counted = "1 agree, 1 diverge, 1 unsupported, 1 failed, 1 crashed, 1 timeout."
    assert counted in shown(render(every_status))


@pytest.mark.parametrize(
    "reason",
    ["JAX would narrow float64", "ValueError: bad kernel", "Traceback\n    line 7", "killed by SIGSEGV", "core dumped",
     "no answer for 60 s"],
)  # fmt: skip
def test_reasons_of_refusals_and_failures_are_shown(every_status, reason):
    assert reason in shown(render(every_status))


def test_a_divergence_is_told_in_full(every_status):
    text = shown(render(every_status))
    assert 'torch_lstm leaves the reference in case "ones" at timestep 1 of 3.' in text
    assert "First: h[1, 0, 0] = 0.5, expected 0.25: 40 sigma" in text
    assert "Rerun: lockstep run ones" in text


def words(page):
    """The lists beside the divergences: pairs of a term and what stands beside it."""
    pairs = re.compile(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", flags=re.DOTALL)
    return [
        [(term, " ".join(shown(text).split())) for term, text in pairs.findall(part)]
        for part in re.findall(r'<dl class="words">(.*?)</dl>', page, flags=re.DOTALL)
    ]


def test_a_divergence_is_explained_in_words(explained):
    first, second, third = words(render(explained))
    apart = "Case batch tells some of them apart. In wordsThe state is zero. state-zero"
    assert first == [
        ("Why", "The state is not carried. state-reset"),
        ("Proof", "The reference, run that way, reproduces every number to 1.4 sigma."),
        ("Fix", "Feed it into the next step."),
        ("Met", "ChenRocks/fast_abs_rl#14."),
        ("Or", f"These numbers cannot tell it from state-zero. {apart}"),
        ("Note", "x came as float64: converted."),
    ]  # fmt: skip
    assert second == [
        ("Why", "Nothing reproduces these numbers. unexplained"),
        ("Known", "units affected in h: all 7h follows from c"),
    ]
    assert third == [("Note", "prints to stdout.")]


def test_an_explanation_is_told_once(explained):
    text = shown(render(explained))
    assert text.count("The state is not carried.") == 1
    assert text.count("prints to stdout") == 1
    assert 'port agrees with the reference in case "batch"' in text


def test_the_case_that_tells_explanations_apart_is_linked_where_it_is_on_the_page(explained, make_results):
    assert '<a href="#case-2">batch</a> tells some of them apart' in render(explained)
    assert "Case “batch” tells some of them apart" in shown(render(make_results(explained.runs[0])))


def test_a_fault_stands_in_the_table_below_its_divergence(explained):
    page = render(explained)
    cells = [[re.sub(r"\s+", " ", cell) for cell in row] for row in cell_texts(page)]
    assert cells[1:] == [
        ["ones", "diverge 50state-reset or 1 more", "diverge 50unexplained"],
        ["batch", "agree 1", "agree 1"],
    ]
    assert Document(page).attributes("title") == ["The state is not carried.", "Nothing reproduces these numbers."]


def test_what_is_not_right_is_linked_from_the_table_to_its_text(every_status):
    page = Document(render(every_status))
    links = [link for link in page.attributes("href") if link.startswith("#")]
    assert len(links) == 2 + 5
    assert {link[1:] for link in links} <= set(page.attributes("id"))


def test_agreement_says_nothing_below_the_chart(make_results, make_run):
    assert Document(render(make_results(make_run(sigma={"h": [1.0, 2.0]})))).count("pre") == 0


def test_the_environment_is_shown(every_status):
    text = shown(render(every_status))
    assert "python3.11.7" in text
    assert "processors2" in text


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("tensors", [("c", "h"), ("h", "c")])
def test_a_sigma_that_is_not_finite_is_the_worst(make_results, make_run, value, tensors):
    run = make_run(sigma={tensors[0]: [1.0, value], tensors[1]: [1.0, 5.0]})
    assert cell_texts(render(make_results(run)))[1] == ["ones", f"diverge {value}"]


def test_no_runs_make_a_page_that_says_so(make_results):
    page = Document(render(make_results()))
    assert "No runs." in page.text
    assert page.count("table") == page.count("script") == 0


def test_a_case_without_numbers_has_no_chart(every_status):
    assert [name for name in Document(render(every_status)).attributes("id") if "chart-" in name] == ["chart-1"]


def test_a_page_without_charts_has_no_script(make_results, make_run):
    page = Document(render(make_results(make_run(status="unsupported", message="no"))))
    assert page.count("script") == 0
    assert "script-src 'none'" in page.attributes("content")[0]


def test_hostile_text_makes_no_element(hostile, hostile_text):
    page = Document(render(hostile))
    assert (page.count("script"), page.count("img")) == (2, 0)
    assert hostile_text.partition("\x00")[0] in page.text


def test_control_characters_are_shown_as_no_text(hostile):
    page = render(hostile)
    assert not set("\x00\x1b\r\u202e") & set(page)
    assert "�" in page


def test_half_a_surrogate_can_be_written(hostile, tmp_path):
    page = write_html(hostile, tmp_path / "new" / "folder")
    assert page.name == PAGE
    assert "\\udc80" in page.read_text("utf-8")


def test_the_same_results_make_the_same_page(every_status):
    assert render(every_status) == render(every_status)


def test_every_color_of_a_chart_is_defined_by_the_page(every_status):
    page = render(every_status)
    for color in COLORS:
        assert page.count(f"{color.removeprefix('var(').removesuffix(')')}: #") == 2, f"{color}: once light, once dark"


def test_twelve_cases_of_six_backends_stay_below_two_megabytes(make_results, make_run):
    series = [1.2345678 * (t % 7) for t in range(200)]
    runs = [
        make_run(f"case-{c}", f"backend-{b}", sigma={"c": series, "h": series}) for c in range(12) for b in range(6)
    ]
    assert len(render(make_results(*runs)).encode()) < 2_000_000


# The page in a browser

HOW = [{"width": 1600, "dark": False}, {"width": 1600, "dark": True}, {"width": 400, "dark": False},
       {"width": 400, "dark": True}]  # fmt: skip


def wait_until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"


def lines_drawn(page, chart):
    return page.locator(f"#{chart} svg .mark-line path").count()


@pytest.mark.parametrize("how", HOW, ids=lambda how: f"{how['width']}-{'dark' if how['dark'] else 'light'}")
def test_the_page_opens_without_a_network_and_draws_its_charts(open_report, every_status, how):
    with open_report(every_status, **how) as report:
        assert lines_drawn(report.page, "chart-1") == 2
        assert report.page.evaluate("document.documentElement.scrollWidth") <= how["width"]
        assert [url for url in report.requests if not url.startswith(("file:", "data:"))] == []
        assert report.complaints == []


@pytest.mark.parametrize("width", [1600, 400])
def test_nothing_hostile_runs_or_overflows(open_report, hostile, hostile_text, width):
    with open_report(hostile, width=width) as report:
        page = report.page
        assert lines_drawn(page, "chart-1") == 2
        # Points cannot be seen, but asked.
        page.locator("#chart-2 svg .mark-symbol.role-mark path").nth(1).hover(force=True)
        tooltip = page.locator("#vg-tooltip-element")
        tooltip.wait_for(state="visible")
        assert hostile_text[:40] in tooltip.inner_text()
        assert page.evaluate("window.ran") is None
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert hostile_text[:40] in page.locator("h2").first.inner_text()
        assert report.complaints == []


@pytest.mark.parametrize("how", HOW, ids=lambda how: f"{how['width']}-{'dark' if how['dark'] else 'light'}")
def test_explanations_are_seen_at_every_width(open_report, explained, how):
    with open_report(explained, **how) as report:
        page = report.page
        assert page.locator("#runs .fault").first.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= how["width"]
        for one in page.locator(".words > dd").all():
            box = one.bounding_box()
            assert box["x"] + box["width"] <= how["width"]
            assert box["width"] > how["width"] / 2
        assert report.complaints == []


def test_a_script_that_is_not_of_the_page_does_not_run(open_page, every_status, tmp_path):
    path = write_html(every_status, tmp_path)
    before, tag, after = path.read_text("utf-8").rpartition("</body>")
    path.write_text(f"{before}<script>window.ran = 1</script>{tag}{after}", "utf-8")
    with open_page(path) as report:
        assert report.page.evaluate("window.ran") is None
        assert "Content Security Policy" in " ".join(report.complaints)


def test_no_address_can_be_asked(open_report, make_results):
    with open_report(make_results()) as report:
        asked = "fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused')"
        assert report.page.evaluate(asked) == "refused"
        assert "Content Security Policy" in " ".join(report.complaints)


def test_no_runs_open(open_report, make_results):
    with open_report(make_results(), width=400, dark=True) as report:
        assert "No runs." in report.page.inner_text("body")
        assert report.complaints == []


def test_a_sigma_that_is_not_finite_is_drawn(open_report, make_results, make_run):
    runs = [make_run(backend=str(value), sigma={"h": [1.0, value, 1.0]}) for value in (math.inf, math.nan)]
    with open_report(make_results(*runs)) as report:
        assert lines_drawn(report.page, "chart-1") == 2
        assert "≥ 1e6" in report.page.locator("#chart-1").text_content()
        assert report.complaints == []


def test_one_timestep_is_drawn_as_points(open_report, make_results, make_run):
    runs = [make_run(backend=name, sigma={"h": [1.0]}) for name in ("a", "b", "c")]
    with open_report(make_results(*runs)) as report:
        assert report.page.locator("#chart-1 svg .mark-symbol.role-mark path").count() == 3


def test_timesteps_are_whole_numbers(open_report, make_results, make_run):
    with open_report(make_results(make_run(sigma={"h": [1.0, 2.0, 3.0]}))) as report:
        labels = report.page.locator("#chart-1 .role-axis-label").first.locator("text")
        assert labels.all_text_contents() == ["0", "1", "2"]


def test_charts_follow_the_window(open_report, make_results, make_run):
    runs = [make_run(backend=f"backend_number_{n}", sigma={"h": [1.0, 2.0]}) for n in range(12)]
    with open_report(make_results(*runs)) as report:
        wide = report.page.locator("#chart-1 svg").bounding_box()
        report.page.set_viewport_size({"width": 400, "height": 1000})
        wait_until(lambda: report.page.locator("#chart-1 svg").bounding_box()["width"] < 400)
        narrow = report.page.locator("#chart-1 svg").bounding_box()
        assert narrow["width"] < 400 < wide["width"]
        # The legend needs more rows, and takes them from the page, not from the chart.
        assert narrow["height"] > wide["height"] + 50
        last = report.page.locator("#chart-1 .role-legend-label text").last.bounding_box()
        assert last["y"] + last["height"] <= narrow["y"] + narrow["height"]


def test_charts_follow_the_color_scheme(open_report, every_status):
    stroke = "getComputedStyle(document.querySelector('#chart-1 .mark-line path')).stroke"
    with open_report(every_status) as report:
        light = report.page.evaluate(stroke)
        report.page.emulate_media(color_scheme="dark")
        dark = report.page.evaluate(stroke)
    assert light != dark
    assert {light, dark}.isdisjoint({"none", "rgb(0, 0, 0)"})


def test_charts_fit_on_paper(open_report, every_status):
    with open_report(every_status, dark=True) as report:
        report.page.emulate_media(media="print")
        report.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        width = 18 * 96 / 2.54  # of A4 between margins of 1.5 cm, in pixels
        wait_until(lambda: report.page.locator("#chart-1 svg").bounding_box()["width"] < width)
        assert color_of(report.page, "--back") == (255, 255, 255)
        report.page.evaluate("dispatchEvent(new Event('afterprint'))")
        wait_until(lambda: report.page.locator("#chart-1 svg").bounding_box()["width"] > width)


def color_of(page, name):
    value = page.evaluate("name => getComputedStyle(document.body).getPropertyValue(name)", name).strip()
    return tuple(int(value[start : start + 2], 16) for start in (1, 3, 5))


def luminance(color):
    """Relative luminance; source: WCAG 2.2, definition of the term."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_lines_stand_out(open_report, make_results, dark):
    with open_report(make_results(), dark=dark) as report:
        page = report.page
        back, panel = color_of(page, "--back"), color_of(page, "--panel")
        # Source: WCAG 2.2, success criteria 1.4.3 (text) and 1.4.11 (graphics).
        for name in ("--text", "--soft", "--agree", "--diverge", "--broken"):
            assert contrast(color_of(page, name), back) >= 4.5, name
        assert contrast(color_of(page, "--text"), panel) >= 4.5
        for color in COLORS:
            assert contrast(color_of(page, color[4:-1]), back) >= 3, color
