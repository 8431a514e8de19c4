import base64
import gzip
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from importlib.resources import files

import msgspec
import pytest
from big_results import big_results
from report_results import HOSTILE, every_status, explained, hostile, make_results, make_run

from lockstep.harness.comparison.results import decode_results, encode_results
from lockstep.reports.html import MOST_TEXTS, PAGE, SCRIPTS, page_script, render, source, write_html


class Document(HTMLParser):
    """A page as a browser reads it: its elements, and its text without that of scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.inside = [], "", None
        self.texts = {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id", tag) if tag in {"script", "style"} else None

    def handle_endtag(self, tag):  # noqa: ARG002 - the parser's own name
        self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.text += data
        else:
            self.texts[self.inside] = self.texts.get(self.inside, "") + data

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]


def data_of(page):
    return json.loads(gzip.decompress(base64.b64decode(Document(page).texts["data"])))


def statuses(data):
    return {
        (case["name"], data["backends"][run["b"]]["name"]): run["status"]
        for case in data["cases"]
        for run in case["runs"]
    }


def test_the_page_holds_every_case_and_backend_with_its_status():
    results = every_status()
    assert statuses(data_of(render(results))) == {(run.case, run.backend): run.status for run in results.runs}


def test_the_page_needs_nothing_else():
    page = Document(render(every_status()))
    assert page.count("link") == 1
    assert page.attributes("src") == []
    assert [link for link in page.attributes("href") if not link.startswith(("#", "data:,"))] == []


def test_only_the_pages_own_script_and_style_are_allowed():
    page = Document(render(every_status()))
    policy = next(text for text in page.attributes("content") if "default-src" in text)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, element in (("script", "script"), ("style", "style")):
        digest = hashlib.sha256(page.texts[element].encode()).digest()
        assert f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert source("") == "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"


def test_every_script_of_the_folder_is_in_the_page():
    folder = files("lockstep.reports") / "templates"
    of_search = "search.js"  # the page of a campaign has one of its own
    assert sorted(file.name for file in folder.iterdir() if file.name.endswith(".js")) == sorted((*SCRIPTS, of_search))


@pytest.mark.parametrize(
    "way", ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "</script"]
)
def test_the_script_makes_elements_of_no_text(way):
    assert way not in page_script()


def test_without_a_script_what_is_not_right_is_told_in_text():
    text = Document(render(every_status())).text
    assert "1 agree, 1 diverge, 1 unsupported, 1 failed, 1 crashed, 1 timeout" in re.sub(r"\s+", " ", text)
    assert 'torch_lstm diverges from the reference in case "ones" at timestep 1 of 3.' in text
    assert "First: h[1, 0, 0] = 0.5, expected 0.25: 40 sigma" in text
    assert "killed by SIGSEGV" in text
    assert "agrees with the reference" not in text


def test_without_a_script_the_explanation_is_told():
    text = Document(render(explained())).text
    assert "Why: The state is not carried." in text
    assert "Fix: Feed it into the next step." in text


def test_without_a_script_not_more_is_told_than_can_be_read():
    runs = [make_run(str(k), status="failed", message="x" * 10_000) for k in range(MOST_TEXTS + 7)]
    text = Document(render(make_results(*runs))).text
    assert "Not shown: 7 more." in text
    assert len(text) < 200_000


def test_no_runs_make_a_page_that_says_so():
    page = render(make_results())
    assert "no runs" in Document(page).text
    assert data_of(page)["cases"] == []


def test_hostile_text_makes_no_element():
    page = Document(render(hostile()))
    assert (page.count("script"), page.count("img"), page.count("style")) == (2, 0, 1)
    assert HOSTILE.partition("\x00")[0] in page.text


def test_control_characters_are_shown_as_no_text():
    page = render(hostile())
    assert not set("\x00\x1b\r\u202e") & set(page)
    assert "�" in Document(page).text


def test_half_a_surrogate_can_be_written(tmp_path):
    page = write_html(hostile(), tmp_path / "new" / "folder")
    assert page.name == PAGE
    assert page.stat().st_size > 10_000


def test_the_same_results_make_the_same_page():
    assert render(every_status()) == render(every_status())


def test_results_without_details_and_cases_are_rendered():
    results = big_results(3, 3, 5)
    plain = msgspec.json.decode(encode_results(results))
    del plain["cases"]
    for run in plain["runs"]:
        del run["details"]
    data = data_of(render(decode_results(msgspec.json.encode(plain), "old.json")))
    assert statuses(data) == {(run.case, run.backend): run.status for run in results.runs}
    assert all("details" not in run for case in data["cases"] for run in case["runs"])


def test_details_are_pages_beside_the_report(tmp_path):
    results = big_results(3, 2, 5)
    write_html(results, tmp_path, details=True)
    named = [case["page"] for case in data_of((tmp_path / PAGE).read_text("utf-8"))["cases"]]
    assert named == ["details/case-0001.html", "details/case-0002.html", "details/case-0003.html"]
    own = data_of((tmp_path / named[1]).read_text("utf-8"))
    assert [case["name"] for case in own["cases"]] == ["case-0001"]
    assert own["above"] == "../index.html"


def test_without_details_nothing_stands_beside_the_report(tmp_path):
    write_html(big_results(2, 2, 5), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [PAGE]


def test_thirty_cases_of_ten_backends_stay_below_two_megabytes():
    results = big_results(30, 10, 50)
    start = time.perf_counter()
    page = render(results)
    assert time.perf_counter() - start < 5
    assert len(page.encode()) < 2_000_000
