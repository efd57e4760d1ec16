"""Lab 07: its solutions, oracles, counts, hints and pictures, without the referee."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpml import course, exercise, source
from hpml.exercise import Case, Prediction

LAB = course.load().lab("07-resnet")
TEXT = source.read(LAB)
DECLARED = exercise.load(LAB)
TRUSTED = exercise.load_module(LAB)
CODE = [name for name, e in LAB.exercises.items() if e.kind == "code"]
NUMPY = ["count", "batch_norm", "residual_block", "fold"]
KERAS = ["inception", "resnet"]


@pytest.fixture(scope="module")
def answers() -> dict:
    """The solutions that need NumPy only."""
    names: dict = {}
    given = TEXT.given
    for part in (given["preamble"], TEXT.answers["count"], given["constants"], TEXT.answers["batch_norm"], given["operations"],
                 TEXT.answers["residual_block"], TEXT.answers["fold"]):
        exec(part, names)
    return names


@pytest.fixture(scope="module")
def framework() -> dict:
    """The solutions that need Keras."""
    names: dict = {}
    given = TEXT.given
    for part in (given["preamble"], given["framework"], TEXT.answers["inception"], given["reveal"], TEXT.answers["resnet"]):
        exec(part, names)
    return names


def case(name, got, size=None, seed=3):
    declared = DECLARED[name]
    size = size or declared.sizes[0]
    args = declared.sample(np.random.default_rng(seed), size)
    return Case(args, got(*args) if callable(got) else got, declared.oracle(*args), size)


def shown(name, found):
    return next((h.text for h in DECLARED[name].hints if h.when(found)), None)


def agree(found, tolerance=1e-5):
    pairs = zip(found.got, found.expected, strict=True) if isinstance(found.expected, tuple) else [(found.got, found.expected)]
    for got, expected in pairs:
        assert got.dtype == expected.dtype and got.shape == expected.shape
        assert abs(got - expected).max() <= tolerance * abs(expected).max()


@pytest.mark.parametrize("name", NUMPY)
def test_solutions_agree_with_the_oracles_on_every_size(answers, name):
    for size in (*DECLARED[name].sizes, *DECLARED[name].hidden):
        agree(case(name, answers[name], size))


@pytest.mark.parametrize("name", KERAS)
def test_keras_agrees_with_the_oracles(framework, name):
    """The oracles are NumPy, the solutions are Keras: here they vouch for each other."""
    for size in (*DECLARED[name].sizes[:2], *DECLARED[name].hidden):
        agree(case(name, framework[name], size), 1e-4)


def test_batch_norm_and_convolutions_are_those_of_keras(answers):
    import keras

    rng = np.random.default_rng(1)
    args = DECLARED["batch_norm"].sample(rng, {"N": 5, "H": 4, "C": 3, "training": 1})
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    layer.build(args[0].shape)
    layer.set_weights(args[1:5])
    y = keras.ops.convert_to_numpy(layer(args[0], training=True))
    mine = answers["batch_norm"](*args)
    assert np.allclose(mine[0], y, atol=1e-4)
    assert np.allclose(mine[1], layer.get_weights()[2], atol=1e-5) and np.allclose(mine[2], layer.get_weights()[3], atol=1e-4)
    for h, stride, k in ((6, 2, 3), (7, 2, 3), (5, 1, 5), (8, 2, 1)):
        x, w = rng.standard_normal((2, h, h, 3), dtype=np.float32), rng.standard_normal((k, k, 3, 4), dtype=np.float32)
        wanted = keras.ops.convert_to_numpy(keras.ops.conv(x, w, strides=stride, padding="same"))
        for function in (answers["conv"], TRUSTED.conv):
            assert np.allclose(function(x, w, stride), wanted, atol=1e-4)


# ------------------------------------------------------------------------------------------------------------- counts

KNOWN = {       # parameters, trainable ones; AlexNet, ResNet and ResNeXt as published, the others as Keras counts them
    "AlexNet": (60_965_224, 60_965_224), "VGG16": (138_357_544, 138_357_544), "VGG19": (143_667_240, 143_667_240),
    "ResNet50": (25_636_712, 25_583_592), "ResNet152": (60_419_944, 60_268_520), "InceptionV3": (23_851_784, 23_817_352),
    "MobileNet": (4_253_864, 4_231_976), "ResNeXt-101-64x4d": (83_658_152, 83_455_272), "GoogLeNet": (6_998_552, 6_998_552)}


@pytest.mark.parametrize("name", KNOWN)
def test_counts_of_known_models(answers, name):
    text = json.dumps(TRUSTED.models()[name])
    assert tuple(answers["count"](text)[:2]) == KNOWN[name]
    assert np.array_equal(answers["count"](text), TRUSTED.count(text))


def test_resnet_50_with_and_without_biases(answers):
    rows = [row | {"bias": False} if row["kind"] == "Conv2D" else row for row in TRUSTED.models()["ResNet50"]]
    assert answers["count"](json.dumps(rows))[1] == 25_557_032


@pytest.mark.parametrize("name", ["ResNet50", "InceptionV3"])
def test_the_notebooks_description_is_the_stored_one_and_counts_like_keras(answers, name):
    import keras

    names: dict = {}
    exec(TEXT.given["preamble"], names)
    exec(next(c.source for c in TEXT.cells if c.source.startswith("def describe(")).split("\n\n\n")[0], names)
    model = getattr(keras.applications, name)(weights=None)
    described = names["describe"](model)
    assert json.loads(described) == TRUSTED.models()[name]
    found = answers["count"](described)
    assert found[0] == model.count_params()
    assert found[1] == sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_the_lectures_numbers_are_in_two_units(answers):
    macs = {name: answers["count"](json.dumps(TRUSTED.models()[name]))[2] / 1e9 for name in ("AlexNet", "VGG19", "ResNet34", "ResNet152")}
    assert 2 * macs["AlexNet"] == pytest.approx(1.5, rel=0.05)
    assert [macs[n] for n in ("VGG19", "ResNet34", "ResNet152")] == pytest.approx([19.6, 3.6, 11.6], rel=0.05)


@pytest.mark.parametrize(("n", "millions"), [(3, 0.27), (9, 0.85), (18, 1.7)])
def test_the_specification_has_the_published_sizes(n, millions):
    learned = TRUSTED.shapes(3, n)
    total = sum(int(np.prod(s)) for s in learned)
    moving = sum(2 * s[-1] for s in learned if len(s) == 4)
    assert (total - moving) / 1e6 == pytest.approx(millions, rel=0.02)


def test_plain_and_residual_have_the_same_weights(framework):
    plain, residual = (framework["network"]((16, 16, 3), 1, residual=r) for r in (False, True))
    assert [w.shape for w in plain.weights] == [w.shape for w in residual.weights]


# -------------------------------------------------------------------------------------------------------- the folding


def test_folding_a_trained_normalisation_changes_nothing(answers):
    for size in (*DECLARED["fold"].sizes, {"N": 1, "H": 8, "W": 8, "C": 64, "K": 256}):
        args = DECLARED["fold"].sample(np.random.default_rng(2), size)
        before = [a.copy() for a in args]
        y = answers["fold"](*args)
        assert abs(y - TRUSTED.two_steps(*args)).max() <= 1e-5 * abs(y).max()
        assert all(np.array_equal(a, b) for a, b in zip(args, before, strict=True))


def test_work_counts_each_term_and_each_byte_once():
    size = {"N": 2, "H": 5, "W": 6, "C": 3, "K": 4}
    x, w, *rest = DECLARED["fold"].sample(np.random.default_rng(0), size)
    y = TRUSTED.fold(x, w, *rest)
    work = DECLARED["fold"].work(size)
    assert work.flops == 2 * y.size * 3 + y.size
    assert work.bytes == x.nbytes + w.nbytes + y.nbytes + sum(r.nbytes for r in rest)


def test_the_notebook_shows_the_baseline_that_is_measured():
    wanted = ast.dump(ast.parse(DECLARED["fold"].baseline_source("two_steps")).body[0])
    trees = [ast.parse(cell.source) for cell in TEXT.cells if cell.kind == "code" and "def two_steps(" in cell.source]
    found = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "two_steps"]
    assert [ast.dump(node) for node in found] == [wanted]


def test_predictions_know_their_truth():
    saving, ratio, gain = (DECLARED[n] for n in ("bottleneck_saving", "vgg_over_resnet", "fold_gain"))
    assert all(isinstance(p, Prediction) for p in (saving, ratio, gain))
    assert saving.truth({}) == pytest.approx(9.68, abs=0.01) and ratio.truth({}) == pytest.approx(4.01, abs=0.01)
    assert gain.truth({}) is None
    assert all(p.explain(1.0, 2.0).endswith(".") for p in (saving, ratio, gain))


# --------------------------------------------------------------------------------------------------- hints, pictures

def net(**options):
    return lambda x, n, residual: (TRUSTED.table(TRUSTED.shapes(x.shape[3], n)), TRUSTED.scores(x, n, residual, **options))


def block(**options):
    def make(x, w1, w2, stride):
        x = x.astype(float)
        y = TRUSTED.norm(TRUSTED.conv(TRUSTED.relu(TRUSTED.norm(TRUSTED.conv(x, w1, stride))), w2))
        side = options.get("side", TRUSTED.shortcut)(x, stride, y.shape[3])
        return (y + side if options.get("open") else TRUSTED.relu(y + side)).astype(np.float32)
    return make


STRIDE_TWO = DECLARED["residual_block"].sizes[1]
MISTAKES = [
    ("inception", "shrunk", lambda *a: TRUSTED.inception(*a)[:, 1:-1, 1:-1], None),
    ("inception", "come out negative", lambda *a: np.concatenate(TRUSTED.branches(*a, last=False), -1), None),
    ("inception", "does not pool", lambda *a: np.concatenate(TRUSTED.branches(*a, pooled=lambda x: x), -1), None),
    ("inception", "sum over the four", lambda *a: TRUSTED.branches(*a)[0], None),
    ("count", "biases are missing", lambda text: TRUSTED.count(text, bias=False), None),
    ("count", "what the row says", lambda text: TRUSTED.count(text, scale=False), None),
    ("count", "two more numbers", lambda text: TRUSTED.count(text, moving=False), None),
    ("count", "By convention", lambda text: TRUSTED.count(text, norms=True), None),
    ("count", "how often is each weight used", lambda text: TRUSTED.count(text) * np.array([1, 1, 3]), None),
    ("batch_norm", "In training you", lambda *a: (TRUSTED.batch_norm(*a[:5], 0)[0], *TRUSTED.batch_norm(*a)[1:]), None),
    ("batch_norm", "one less", lambda *a: (TRUSTED.batch_norm(*a)[0], TRUSTED.batch_norm(*a)[1], TRUSTED.batch_norm(*a, ddof=1)[2]), None),
    ("batch_norm", "At inference nothing is learned",
     lambda *a: (TRUSTED.batch_norm(*a)[0], *TRUSTED.batch_norm(*a[:5], 1)[1:]), {"N": 4, "H": 3, "C": 3, "training": 0}),
    ("residual_block", "Negative numbers", block(open=True), None),
    ("residual_block", "plain block", block(side=lambda *a: 0 * TRUSTED.shortcut(*a)), None),
    ("residual_block", "averages", block(side=TRUSTED.averaged), STRIDE_TWO),
    ("residual_block", "copies", block(side=TRUSTED.repeated), STRIDE_TWO),
    ("resnet", "the plain network", lambda x, n, r: net()(x, n, 0), None),
    ("resnet", "its shortcuts still", lambda x, n, r: net()(x, n, 1), DECLARED["resnet"].sizes[1]),
    ("resnet", "before the addition", net(bend="before"), None),
    ("resnet", "without a ReLU", net(bend="none"), None),
    ("resnet", "belongs to the first", net(stride_at=1), None),
    ("resnet", "average four", net(average=True), None),
    ("resnet", "Count the layers", lambda x, n, r: net()(x, n + 1, r), None),
    ("resnet", "no batch normalisation",
     lambda x, n, r: (TRUSTED.table(TRUSTED.shapes(x.shape[3], n, bias=True, normal=False)), TRUSTED.scores(x, n, r)), None),
    ("fold", "beta is missing", lambda x, w, g, b, m, v: TRUSTED.fold(x, w, g, 0 * b, m, v), None),
    ("fold", "square root", lambda x, w, g, b, m, v: (x @ (w * g / (v + 1e-3)) + b - m * g / (v + 1e-3)).astype(np.float32), None),
    ("fold", "rows of w", lambda *a: TRUSTED.rows_scaled(*a).astype(np.float32), None),
    ("fold", "float64", lambda *a: TRUSTED.fold(*a).astype(float), None),
]


@pytest.mark.parametrize(("name", "idea", "make", "size"), MISTAKES, ids=[f"{m[0]}: {m[1]}" for m in MISTAKES])
def test_a_hint_names_the_mistake(name, idea, make, size):
    hint = shown(name, case(name, make, size))
    assert hint is not None and idea in hint


@pytest.mark.parametrize("name", CODE)
def test_no_hint_about_what_is_right(name):
    assert shown(name, case(name, DECLARED[name].oracle)) is None


GARBAGE = [None, 3.0, np.float32(1), np.zeros(0, np.float32), np.zeros((1, 2), bool), np.array("words"), (None, None), (None, None, None),
           np.full((3, 6, 6, 4), np.nan, np.float32), np.array([1, 2, 3]), (np.zeros((2, 4), np.int64), np.zeros((2, 10), np.float32)),
           (np.full((37, 4), -5), None)]


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda g: re.sub(r"\W+", " ", str(g))[:30])
@np.errstate(all="ignore")
def test_hints_and_pictures_survive_anything(name, garbage):
    found = case(name, garbage)
    assert all(isinstance(h.when(found), bool) for h in DECLARED[name].hints)
    assert isinstance(DECLARED[name].draw(found), Figure)


@pytest.mark.parametrize("name", CODE)
def test_the_picture_differs_between_right_and_wrong(name):
    from hpml import plots

    right = case(name, DECLARED[name].oracle)
    wrong = Case(right.args, tuple(2 * g for g in right.got) if isinstance(right.got, tuple) else 2 * right.got, right.expected, right.size)
    assert plots.svg(DECLARED[name].draw(right)) == plots.svg(DECLARED[name].draw(right)) != plots.svg(DECLARED[name].draw(wrong))


# ---------------------------------------------------------------------------------------------------------- the text


def test_the_long_experiment_has_three_seeds_and_shows_what_the_text_says():
    runs = json.loads((LAB.folder / "depth.json").read_text(encoding="utf-8"))
    assert set(runs) == {"plain-20", "residual-20", "plain-56", "residual-56"}
    last = {name: [seed[0][-1] for seed in seeds] for name, seeds in runs.items()}
    assert all(len(seeds) >= 3 for seeds in last.values())
    assert min(last["plain-56"]) > max(last["plain-20"]) and min(last["plain-56"]) > max(last["residual-56"])


def test_slides_tell_the_sizes_that_are_counted():
    words = "\n".join(cell.source for cell in TEXT.cells if cell.slide)
    for name in ("AlexNet", "VGG19", "ResNet34", "ResNet152"):
        assert f"{TRUSTED.count(json.dumps(TRUSTED.models()[name]))[2] / 1e9:.2f}" in words
    work = 50 * 1.28e6 * 6 * TRUSTED.count(json.dumps(TRUSTED.models()["VGG19"]))[2]
    assert f"{work / 1e18:.1f} exaFLOP" in words
    assert 8 <= sum(cell.slide == "slide" for cell in TEXT.cells) <= 15
