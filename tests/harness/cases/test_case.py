"""Case files: what is read, and what is said of what cannot be."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.harness.cases.case import Case, Values
from lockstep.harness.cases.case_file import case_from_data, case_schema, load_case
from lockstep.harness.errors import CaseError

GOOD = """
[lstm]
input_size = 5
hidden_size = 4

[run]
timesteps = 3
batch = 2
"""

DECODER = """
[lstm]
input_size = 5
hidden_size = 4

[run]
timesteps = 2
batch = 2

[attention_decoder]
source_timesteps = 3
"""

LSTM, RUN = GOOD.partition("\n[run]")[0] + "\n", "\n[run]\ntimesteps = 3\nbatch = 2\n"
SHIPPED = sorted(Path(str(files("lockstep.cases"))).glob("*.toml"))


def load(tmp_path: Path, text: str | bytes, name: str = "some.toml") -> Case:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_case(path)


def error(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(CaseError) as raised:
        load(tmp_path, text)
    return str(raised.value)


def test_defaults_are_filled_in_and_the_name_is_the_files(tmp_path):
    case = load(tmp_path, GOOD, "my-case.toml")
    assert case.name == "my-case"
    assert case.shape == (3, 2, 5, 4)
    assert case.lstm.forget_bias == 1.0
    assert case.run.values("weights") == Values(kind="probe")
    assert case.run.dtype == "float32"


def test_a_case_is_hashable_and_equal_to_itself_read_again(tmp_path):
    text = GOOD + "[expect]\nh = [[1.0, 2.0], [1.0, 2.0], [1, 2]]\natol = 1e-6\nsource = 'x'\n"
    assert hash(load(tmp_path, text)) == hash(load(tmp_path, text))
    assert load(tmp_path, text) == load(tmp_path, text)


def test_a_network_knows_its_lanes_and_widths(tmp_path):
    settings = 'num_layers = 2\ndirection = "bidirectional"\nproj_size = 3\n'
    lstm = load(tmp_path, LSTM + settings + RUN).lstm
    assert lstm.directions == (False, True)
    assert (lstm.output_size, lstm.input_size_of(0), lstm.input_size_of(1)) == (3, 5, 6)
    assert not lstm.plain
    assert not lstm.single


def test_golden_values_of_a_network_have_the_shapes_that_frameworks_give(tmp_path):
    expect = "[expect]\nh = [1.0, 2.0, 3.0]\nh_n = [[1.0, 2.0], [3.0, 4.0]]\natol = 1e-6\nsource = 'x'\n"
    case = load(tmp_path, LSTM + 'direction = "bidirectional"\n' + RUN + expect)
    assert case.natural_shape("h") == (3, 2, 8)
    assert case.natural_shape("h_n") == (2, 2, 4)


def test_a_frozen_case_cannot_be_changed(tmp_path):
    with pytest.raises(AttributeError):
        load(tmp_path, GOOD).run.timesteps = 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace("hidden_size", "hiden_size"), ["[lstm]", "'hiden_size'", "mean 'hidden_size'", "Allowed"]),
        (GOOD.replace("hidden_size = 4", "hidden_size = 0"), ["[lstm] hidden_size", ">= 1", "found 0"]),
        (GOOD.replace("hidden_size = 4", 'hidden_size = "4"'), ["[lstm] hidden_size", "int", "found '4'"]),
        (GOOD.replace("hidden_size = 4", "hidden_size = 4.0"), ["[lstm] hidden_size", "int", "found 4.0"]),
        (GOOD.replace("hidden_size = 4", ""), ["[lstm]", "hidden_size is missing"]),
        (GOOD.replace("[lstm]", "[lstn]"), ["unknown key 'lstn'", "Did you mean 'lstm'"]),
        (GOOD + 'dtype = "float23"', ["[run] dtype", "'float23'", "Choose one of: float16, bfloat16, float32"]),
        (GOOD + 'weights = "one"', ["[run] weights", "'one'", "zeros, ones, uniform, probe", "file ="]),
        (GOOD + 'weights = { kind = "probe", scal = 2.0 }', ["[run.weights]", "'scal'", "Did you mean 'scale'"]),
        (GOOD + "weights = { scale = 2.0 }", ["[run] weights", "either kind", "or file"]),
        (GOOD + 'weights = { kind = "probe", scale = nan }', ["[run] weights", "scale = nan", "finite"]),
        (GOOD + 'weights = { kind = "probe", zero_timesteps = [1] }', ["zero_timesteps belongs to inputs", "weights"]),
        (GOOD + 'inputs = { file = "x.npz", zero_timesteps = [1] }', ["zero_timesteps goes with kind, not with file"]),
        (GOOD + 'weights = { file = "w.npz", seed = 1 }', ["seed goes with kind, not with file"]),
        (GOOD + 'weights = { kind = "probe", seed = -1 }', ["[run] weights.seed", ">= 0"]),
        (GOOD + 'inputs = { kind = "probe", zero_timesteps = [-1] }', ["zero_timesteps", ">= 0"]),
        (GOOD + 'inputs = { file = "no.npz" }', ["[run] inputs", "'no.npz' does not exist", "relative to"]),
        (GOOD + 'inputs = { file = "\\u0000" }', ["[run] inputs", "does not exist"]),
        (GOOD + "lengths = [3, 4]", ["[run]", "lengths has 4, beyond timesteps = 3", "0 to 3"]),
        (DECODER + 'score = "bahdanau"', ["[attention_decoder] score", "'bahdanau'", "one of: dot, general, additive"]),
        (DECODER + "source_size = 5", ["encoder outputs of width 5", "hidden_size = 4", 'score = "general"']),
        (DECODER + "attention_size = 3", ["belongs to additive scores", 'score = "dot"', 'score = "additive"']),
        (DECODER + 'context = "cell"', ["[attention_decoder] context", "'cell'", "Choose one of: output, input"]),
        (DECODER + "window = 3", ["[attention_decoder]: unknown key 'window'", "Allowed: source_timesteps"]),
        (DECODER.replace("source_timesteps = 3", ""), ["[attention_decoder]", "source_timesteps is missing"]),
        (DECODER + "[attention_decoder.encoder]\ninput_size = 2\nhiden_size = 4", ["'hiden_size'", "'hidden_size'"]),
        (DECODER + "[attention_decoder.encoder]\ninput_size = 2\nhidden_size = 4\nnum_layers = 2",
         ["[attention_decoder]", "the encoder is one forward layer"]),
        (DECODER + "source_size = 3\nscore = 'general'\n[attention_decoder.encoder]\ninput_size = 2\nhidden_size = 4",
         ["source_size = 3, and the encoder gives 4"]),
        (DECODER.replace("batch = 2", "batch = 2\nlengths = [1, 4]"),
         ["lengths has 4", "source_timesteps = 3", "1 to 3"]),
        (DECODER.replace("batch = 2", "batch = 2\nlengths = [0, 2]"), ["lengths has 0", "nothing to attend to"]),
        (DECODER.replace("hidden_size = 4", "hidden_size = 4\npeephole = true"), ["is its cell", "remove what asks"]),
        (DECODER.replace("timesteps = 2", "timesteps = 16000000"), ["do not fit"]),
        (GOOD + "lengths = [3]", ["[run]", "lengths has 1 entries for batch = 2"]),
        (GOOD + "lengths = [3, -1]", ["[run] lengths", ">= 0"]),
        (GOOD + "seed = -1", ["[run] seed", ">= 0", "found -1"]),
        (GOOD + f"seed = {2**70}", ["[run] seed"]),
        (GOOD + "[tolerance]\nrtol = 1e-5", ["[tolerance]", "atol is missing"]),
        (GOOD + "[tolerance]\nrtol = inf\natol = 0.0", ["[tolerance]", "finite"]),
        (GOOD + "[expect]\natol = 1e-6\nsource = 'x'", ["[expect]", "no golden values"]),
        (GOOD + "[expect]\nh = [1.0]\natol = 1e-6\nsource = 'x'", ["expect.h", "list of 1", "3 entries"]),
        (GOOD + "[expect]\nh = ['a', 'b', 'c']\natol = 1e-6\nsource = 'x'", ["[expect]", "'a'", "not a number"]),
        (GOOD + "[expect]\nh = 1.0\nsource = 'x'", ["[expect]", "atol is missing"]),
        (GOOD.replace("timesteps = 3", "timesteps = 16000000"), ["more than", "do not fit"]),
        (GOOD.replace("[run]", "bias = false\n[run]"), ["[lstm]", "bias = false", "set forget_bias = 0.0"]),
        (GOOD.replace("[run]", "forget_bias = inf\n[run]"), ["[lstm]", "forget_bias = inf"]),
        (LSTM + "num_layers = 0" + RUN, ["[lstm] num_layers", ">= 1", "found 0"]),
        (LSTM + 'direction = "backward"' + RUN, ["[lstm] direction", "forward, reverse, bidirectional"]),
        (LSTM + "proj_size = -1" + RUN, ["[lstm] proj_size", ">= 0"]),
        (LSTM + "cell_clip = 0.0" + RUN, ["[lstm] cell_clip", "> 0", "found 0.0"]),
        (LSTM + "cell_clip = inf" + RUN, ["[lstm]", "cell_clip = inf", "leave it out for no clipping"]),
        (LSTM + 'recurrent_activation = "hard_sigmoid"' + RUN, ["hard_sigmoid_0.2, hard_sigmoid_1/6"]),
        (LSTM + "input_forget = true" + RUN, ["input_forget = true", "forget_bias = 1.0", "set forget_bias = 0.0"]),
        (GOOD + 'cotangents = "ones"', ["[run]", "cotangents", "set gradients = true"]),
        (LSTM + "num_layers = 900" + RUN.replace("= 2", "= 200000"), ["layer and direction", "do not fit"]),
        (LSTM + "num_layers = 2" + RUN + "[expect]\nh_n = [1.0]\natol = 1e-6\nsource = 'x'", ["h_n", "2 entries"]),
        ("lstm = 1\nrun = 2", ["lstm", "object", "found 1"]),
        ("", ["lstm is missing"]),
        ("a = [", ["not valid TOML"]),
        (b"\x89PNG\r\n\x1a\n\0\0", ["not a text file", "TOML"]),
        ("a = " + "[" * 2000, ["nested too deeply"]),
    ],
)  # fmt: skip
def test_a_bad_case_ends_in_one_message_that_names_file_key_and_what_is_allowed(tmp_path, text, words):
    message = error(tmp_path, text)
    assert "some.toml" in message
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_name_that_would_be_no_file_name_is_refused(tmp_path):
    assert "name" in error(tmp_path, 'name = "../../etc/passwd"' + GOOD)
    with pytest.raises(CaseError, match="name"):
        load(tmp_path, GOOD, "a b$.toml")
    assert load(tmp_path, 'name = "fine"' + GOOD, "a b$.toml").name == "fine"


def test_a_missing_file_and_a_folder_are_no_case(tmp_path):
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(CaseError, match="cannot be read"):
            load_case(path)


toml_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.binary(max_size=200))
def test_random_bytes_never_end_in_a_traceback(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "random.toml"
    path.write_bytes(data)
    with pytest.raises(CaseError):
        load_case(path)


@given(st.data())
def test_a_mutated_case_loads_or_ends_in_a_case_error(data):
    parsed = tomllib.loads(data.draw(st.sampled_from(SHIPPED)).read_text())
    table = parsed.get(data.draw(st.sampled_from(["lstm", "run", "expect", "tolerance", ""])), parsed)
    key = data.draw(st.sampled_from(sorted(table)) | st.text(max_size=10)) if table else "key"
    if data.draw(st.booleans()):
        table[key] = data.draw(toml_values)
    else:
        table.pop(key, None)
    try:
        case = case_from_data(parsed, Path("mutated.toml"))
    except CaseError as problem:
        assert "mutated.toml" in str(problem)
    else:
        assert case.run.timesteps >= 1


@given(st.data())
def test_mutated_text_loads_or_ends_in_a_case_error(tmp_path_factory, data):
    text = data.draw(st.sampled_from(SHIPPED)).read_text()
    at = data.draw(st.integers(0, len(text)))
    mutated = text[:at] + data.draw(st.text(max_size=5)) + text[at + data.draw(st.integers(0, 9)) :]
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    path.write_bytes(mutated.encode("utf-8", "surrogatepass"))
    try:
        load_case(path)
    except CaseError as problem:
        assert "mutated.toml" in str(problem)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_case_is_valid_and_says_what_it_tries_to_break(path):
    assert load_case(path).description
    first, second = path.read_text().splitlines()[:2]
    assert first == "#:schema ./case.schema.json"
    assert second.startswith("# ")


def test_the_shipped_schema_is_the_one_of_the_code():
    shipped = json.loads(files("lockstep.cases").joinpath("case.schema.json").read_text())
    assert shipped == json.loads(json.dumps(case_schema()))


def test_the_schema_names_every_key_of_the_shipped_files():
    definitions = case_schema()["$defs"]
    for path in SHIPPED:
        for table, keys in tomllib.loads(path.read_text()).items():
            name = {"lstm": "LSTM", "run": "Run", "expect": "Expect", "tolerance": "Tolerance"}.get(table)
            if name:
                assert set(keys) <= set(definitions[name]["properties"])
            else:
                assert table in definitions["Case"]["properties"]
