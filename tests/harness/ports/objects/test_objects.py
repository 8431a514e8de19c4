"""Objects with weights, as people write them: healthy ones agree, wrong ones are explained as ports are."""

from __future__ import annotations

import numpy as np
import pytest
from examples import mostly_slow

from lockstep.harness.adapters.user_code import UserCodeError
from lockstep.harness.cases.find import find_cases
from lockstep.harness.errors import LockstepError
from lockstep.harness.jobs.check import check
from lockstep.harness.ports.objects.build import Maker, is_object
from lockstep.harness.ports.objects.object_port import ObjectPort
from lockstep.harness.ports.port import LocalPort

torch = pytest.importorskip("torch", reason="install the extra torch")
healthy_objects, wrong_objects = (pytest.importorskip(f"{kind}_objects") for kind in ("healthy", "wrong"))
pytestmark = pytest.mark.xdist_group("torch")

CASES = {found_case.case.name: found_case.case for found_case in find_cases([])}
HEALTHY = (
    "LinearPairs", "CustomLSTM", "FusedLSTM", "CellLoop", "Tagger", "Listed", "FromOnnx", "MyCell", "Cs231n", "Columns",
    "PlainLists", "Tf1Names", "Wrapped", "make", "made", "FixedSizes", "NoBias", "Classifier", "layers",
    "both_ways",
)  # fmt: skip
# By object: the fault that it has, some words of the answer, and what of the table or the notes names it too.
WRONG = {
    "GatesExchanged": ("WRb:read-as-figo", "read as f, i, g, o", "uses those blocks as f, i, g, o"),
    "NoTanh": ("curve-of-u:linear", "activation of c is left out", ""),
    "SigmoidCandidate": ("curve-of-g:sigmoid", "candidate is the sigmoid", ""),
    "TensorflowOrder": ("WRb:read-as-igfo", "`weight_ih_l0`", "as torch has them"),
    "OneBias": ("b_hh:left-out", "recurrent bias", ""),
    "BatchAsTime": ("recurrence-over-the-batch", "over the sequences of the batch", "it is batch_first"),
    "Remembers": ("state-kept-between-calls", "The final state (h and c) of a call is kept", ""),
    "AlwaysDropout": ("dropout-active", "rate 0.3", ""),
    "Overwritten": ("curve-of-f:one", "forget gate is the constant 1", ""),
    "RecurrentTransposed": ("R:transposed-by-gate", "R is transposed gate by gate", ""),
    "BiasOfOneGateLost": ("b.o:zero", "output gate's block of b", ""),
    "StatesExchanged": ("h_in-and-c_in:exchanged", "h and c are exchanged", "the other way round"),
    "StateNotCarried": ("h.carry:initial", "is the initial one at every step", ""),
    "SigmoidOfFused": ("curve-of-g:sigmoid", "candidate is the sigmoid", "i and g act alike"),
    "NotTurnedBack": ("turn-out:within-and-not", "its outputs are not turned back", "in both directions"),
    "ChangesItsInput": ("arguments-overwritten", "changes its argument x in place", ""),
}


def checked(port, *names):
    return check(port, [CASES[name] for name in names])


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_objects_agree_without_an_option(name):
    port = LocalPort(getattr(healthy_objects, name))
    runs = checked(port, "probe", "batch", "one-timestep", "square")
    assert {run.case: run.status for run in runs} == dict.fromkeys(
        ("probe", "batch", "one-timestep", "square"), "agree"
    )
    assert port.taken().calls <= 60


@pytest.mark.parametrize("name", mostly_slow(WRONG, every=6))
def test_wrong_objects_are_explained_as_ports_are(name):
    fault, words, told = WRONG[name]
    port = LocalPort(getattr(wrong_objects, name))
    (run,) = checked(port, "probe")
    assert run.status == "diverge"
    assert run.diagnosis[0].fault == fault
    assert words in run.diagnosis[0].message
    assert told in " ".join(port.taken().notes)
    assert port.taken().calls <= 60


def taken(thing, **options):
    return ObjectPort(Maker(thing, getattr(thing, "__name__", "it"), options.pop("init", None), {}), **options).taken


def test_the_table_says_what_each_array_is():
    rows = {array.parameter: array for array in taken(healthy_objects.FusedLSTM).arrays}
    assert (rows["W"].shape, rows["W"].taken_for) == ((5, 12), "W, of x, transposed")
    assert {(row.gates, row.known_by) for row in rows.values()} == {("ifog", "measured")}
    listed = {array.parameter: array.gates for array in taken(healthy_objects.Listed).arrays}
    assert [listed[f"kernels.{k}"] for k in range(4)] == ["o", "f", "i", "g"]
    columns = {array.parameter: array for array in taken(healthy_objects.Columns).arrays}
    assert columns["Wc"].taken_for == "R and W, of [h; x], rows"
    assert columns.keys() == {kind + gate for kind in "Wb" for gate in "fico"}  # no gradients


def test_names_and_behaviour_that_differ_are_told():
    found = taken(wrong_objects.TensorflowOrder)
    rows = {array.parameter: array for array in found.arrays}
    assert (rows["weight_ih_l0"].gates, rows["weight_ih_l0"].behaves_as) == ("ifgo", "igfo")
    assert rows["weight_ih_l0"].known_by == "names (torch)"
    assert found.layout == "torch"


def test_how_it_is_called_is_found():
    assert taken(healthy_objects.Tagger).called.startswith("x (B, T, I) and (h, c), each (1, B, H)")
    assert taken(healthy_objects.Tf1Names).called.startswith("x (T, B, I) and (c, h)")
    assert taken(healthy_objects.MyCell).called.startswith("one timestep at a time, x (B, I)")
    assert "head.weight" in " ".join(taken(healthy_objects.Tagger).notes)
    assert "return c of each timestep too" in " ".join(taken(healthy_objects.CellLoop).notes)


def test_a_part_is_checked_alone_where_the_whole_returns_no_h():
    found = taken(healthy_objects.Classifier)
    assert found.notes[0] == (
        "lstm alone is checked: what Classifier does before and after it, with embedding.weight, fc.weight, fc.bias, "
        "is not covered"
    )
    assert (found.input_size, found.hidden_size) == (8, 3)


def test_gates_are_told_apart_whatever_their_curves_are():
    found = taken(wrong_objects.SigmoidOfFused)
    assert {array.gates for array in found.arrays} == {"ifog"}
    assert "i and g act alike, and are taken in the order in which they lie" in found.notes


def test_what_it_lacks_is_left_out_of_the_cases():
    port = LocalPort(healthy_objects.NoBias)
    fitted = port.fitted(CASES["ones-state"])
    assert not fitted.lstm.bias
    assert fitted.run.values("initial_state").kind == "zeros"
    assert fitted.expect is None
    fixed = LocalPort(healthy_objects.made).fitted(CASES["probe"])
    assert (fixed.lstm.input_size, fixed.lstm.hidden_size) == (6, 5)


def test_lengths_are_handed_over_where_they_are_taken():
    assert [run.status for run in checked(LocalPort(healthy_objects.WithLengths), "lengths", "probe")] == [
        "agree",
        "agree",
    ]
    (run,) = checked(LocalPort(healthy_objects.CellLoop), "lengths")
    assert run.status == "unsupported"


def test_float64_is_computed_where_the_object_can():
    (run,) = checked(LocalPort(healthy_objects.Listed), "float64")
    assert (run.status, run.computed_in) == ("agree", None)


def test_a_network_takes_its_layers_and_directions_into_the_cases():
    lstm = LocalPort(healthy_objects.both_ways).fitted(CASES["probe"]).lstm
    assert (lstm.num_layers, lstm.direction) == (2, "bidirectional")
    (run,) = checked(LocalPort(healthy_objects.CellLoop), "layers")
    assert (run.status, run.message) == ("unsupported", "it has 1 layer of 1 direction")


def test_the_dtype_is_put_back_too():
    module = torch.nn.LSTM(6, 5)
    port = ObjectPort(Maker(module, "module", None, {}))
    case = CASES["float64"]
    x, h, c = (np.zeros(shape) for shape in ((4, 2, 6), (2, 5), (2, 5)))
    weights = {"W": np.ones((20, 6)), "R": np.ones((20, 5)), "b": np.ones(20)}
    assert port(x, weights, h, c)["h_seq"].dtype == case.run.dtype
    assert next(module.parameters()).dtype == torch.float32


class Counting(torch.nn.LSTM):
    """Counts its calls in a buffer, by a new tensor for each."""

    def __init__(self):
        super().__init__(6, 5)
        self.register_buffer("calls", torch.zeros(1))
        self.most = 0.0

    def forward(self, x, states=None):
        self.calls = self.calls + 1
        self.most = max(self.most, float(self.calls))
        return super().forward(x, states)


def test_everything_is_put_back():
    module = Counting().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with LocalPort(module) as port:
        (run,) = check(port, [port.fitted(CASES["probe"])])
    assert run.status == "agree"
    assert module.most > 5
    after = module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) and value.dtype == after[name].dtype for name, value in before.items())
    assert module.training


def port(x, weights, h0, c0):
    return x, weights, h0, c0


def wrong_names(x, w, h, c):
    return x, w, h, c


def sizes(input_size, hidden_size, num_layers=1):
    return torch.nn.LSTM(input_size, hidden_size, num_layers)


class NeedsMore:
    def __init__(self, vocabulary, hidden_size):
        self.W = np.zeros((vocabulary, hidden_size))


class NoLSTM(torch.nn.Module):
    def __init__(self, input_size, hidden_size):
        super().__init__()
        self.fc = torch.nn.Linear(input_size, hidden_size)

    def forward(self, x):
        return self.fc(x)


class Raises:
    def __init__(self, input_size, hidden_size):
        raise RuntimeError(f"no licence for {input_size}, {hidden_size}")


class Empty:
    def __call__(self, x):
        return x


class NotCalled:
    def __init__(self, input_size, hidden_size):
        self.W, self.R = np.zeros((4 * hidden_size, input_size)), np.zeros((4 * hidden_size, hidden_size))


class LastOnly(NotCalled):
    def __call__(self, x):
        return x[-1] @ self.W[:3].T


class AsksForMore(NotCalled):
    def forward(self, x, vocabulary):
        return x, vocabulary


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (NeedsMore, "NeedsMore needs vocabulary, of which nothing is known: write what it is made with"),
        (NoLSTM, "NoLSTM holds fc.weight (3, 5), fc.bias (3,), which is no LSTM"),
        (Raises, "making Raises raised RuntimeError: no licence for 5, 3"),
        (Empty, "Empty holds no arrays of numbers"),
        (LastOnly, "no way of calling it gave h of all timesteps"),
        (NotCalled, "NotCalled is called by nothing that is known"),
        (AsksForMore, "nothing is known of vocabulary; give it a default"),
    ],
)
def test_what_cannot_be_taken_is_told_in_one_message(thing, words):
    with pytest.raises(UserCodeError) as caught:
        taken(thing)
    assert words in str(caught.value)
    assert caught.value.outcome.status == "wrong"


def test_a_layout_overrules_what_names_claim(tmp_path):
    by_names = LocalPort(wrong_objects.TensorflowOrder)
    assert checked(by_names, "probe")[0].status == "diverge"
    file = tmp_path / "mapping.toml"
    file.write_text('gates = "igfo"\n')
    overruled = LocalPort(wrong_objects.TensorflowOrder, layout=str(file))
    assert checked(overruled, "probe")[0].status == "agree"
    assert {array.known_by for array in overruled.taken().arrays} == {"--layout"}


def test_a_file_names_what_is_what(tmp_path):
    file = tmp_path / "mapping.toml"
    names = {"W": "W transposed", "U": "R transposed", "bias": "b"}
    file.write_text('gates = "ifog"\n[parameters]\n' + "".join(f'"{k}" = "{v}"\n' for k, v in names.items()))
    assert checked(LocalPort(healthy_objects.FusedLSTM, layout=str(file)), "probe")[0].status == "agree"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gates = 'ifgg'", "write i, f, g and o in the order in which they lie"),
        ("gate = 'ifgo'", "nothing is known of gate. Allowed: gates"),
        ("batch_first = 1", "batch_first = 1 is a int"),
        ("[parameters]\nW = 'kernel'", "write what it is, W, R, b"),
        ("[parameters", "cannot be read"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, text, words):
    file = tmp_path / "mapping.toml"
    file.write_text(text)
    with pytest.raises(LockstepError) as caught:
        LocalPort(healthy_objects.FusedLSTM, layout=str(file))
    assert words in str(caught.value)


def test_an_init_makes_the_object():
    found = taken(torch.nn.LSTM, init="input_size, hidden_size, batch_first=True")
    assert found.called.startswith("x (B, T, I)")
    with pytest.raises(UserCodeError, match="making LSTM with --init 'hidden' raised NameError"):
        taken(torch.nn.LSTM, init="hidden")


def test_ports_are_told_from_objects():
    assert not any(map(is_object, (port, wrong_names, lambda *arguments: None, np.tanh)))
    assert all(map(is_object, (sizes, NoLSTM, healthy_objects.made, torch.nn.LSTM(2, 3))))
