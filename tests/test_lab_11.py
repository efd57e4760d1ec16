"""Lab 11: its solutions, oracles, hints and pictures, and the script that its ranks run, without the referee."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from hpml import course, exercise, plots, source, wrong
from hpml.distributed import launch, run_ranks
from hpml.exercise import Case, Exercise, PerRank, Prediction, on_rank

MANIFEST = course.load()
LAB = next(lab for lab in MANIFEST.labs if lab.lab == "11-horovod")
TEXT = source.read(LAB)
DECLARED = exercise.load(LAB)
TRUSTED = exercise.load_module(LAB)
CODE = [name for name, e in LAB.exercises.items() if e.kind == "code"]
RANKED = [name for name in CODE if DECLARED[name].world]
ALONE = [name for name in CODE if name not in RANKED]
SILENT = "\nimport os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n"
WRONG = [w for w in wrong.read(LAB) if w.exercise in CODE and str(w.outcome) == "wrong" and w.path.stem != "checkpoint_on_all_ranks"]


def program(name: str, answer: str) -> str:
    """All cells that an exercise needs, and its answer."""
    order: list[str] = []

    def visit(key):
        for used in getattr(DECLARED.get(key), "uses", ()):
            visit(used)
            if used not in order:
                order.append(used)

    visit(name)
    return "\n".join([SILENT, TEXT.given["preamble"], *(TEXT.given.get(key) or TEXT.answers[key] for key in order), answer])


def run(name: str, answer: str, size: dict, seed: int = 7) -> Case:
    """One call of an answer, on as many ranks as its size says."""
    declared = DECLARED[name]
    args = declared.sample(np.random.default_rng(seed), size)
    expected = declared.oracle(*args)
    if not declared.world:
        names: dict = {}
        exec(program(name, answer), names)
        return Case(args, names[name](*args), expected, size)
    rows = [[on_rank(a, rank) for a in args] for rank in range(size["ranks"])]
    got = run_ranks(f"{program(name, answer)}\ndef main(rows):\n    return {name}(*rows[hvd.rank()])\n", size["ranks"], (rows,))
    return Case(args, got, [on_rank(expected, rank) for rank in range(size["ranks"])], size)


def flat(value) -> list[np.ndarray]:
    return [a for v in value for a in flat(v)] if isinstance(value, list | tuple) else [value]


def agree(name: str, case: Case) -> bool:
    got, wanted = flat(case.got), flat(case.expected)
    return len(got) == len(wanted) and all(
        g.dtype == w.dtype and g.shape == w.shape and np.abs(g - w).max() <= DECLARED[name].tolerance.get(str(w.dtype), 0) * np.abs(w).max()
        for g, w in zip(got, wanted, strict=True))


def shown(case: Case, name: str) -> str | None:
    return next((h.text for h in DECLARED[name].hints if h.when(case)), None)


@pytest.mark.parametrize("name", CODE)
def test_solutions_agree_with_the_oracle_on_every_size(name):
    declared = DECLARED[name]
    for size in (*declared.sizes, *declared.hidden):
        case = run(name, TEXT.answers[name], size)
        assert agree(name, case)
        assert TRUSTED.right(case) and shown(case, name) is None
    assert isinstance(declared.draw(case), Figure)


@pytest.mark.parametrize("name", CODE)
def test_there_is_a_picture_before_the_answer_is_right(name):
    declared = DECLARED[name]
    size = declared.sizes[0]
    args = declared.sample(np.random.default_rng(7), size)
    expected = declared.oracle(*args)
    number = size.get("ranks", 1)
    wanted = [on_rank(expected, rank) for rank in range(number)] if declared.world else expected
    for got in (None, np.zeros(2), [None] * number, "nonsense"):
        assert plots.svg(declared.draw(Case(args, got, wanted, size))).startswith("<svg")


@pytest.mark.parametrize("name", [w.path.stem for w in WRONG])
def test_a_wrong_answer_gets_its_own_hint(name):
    w = next(w for w in WRONG if w.path.stem == name)
    case = run(w.exercise, w.source, DECLARED[w.exercise].sizes[0])
    assert not agree(w.exercise, case)
    assert w.shows in (shown(case, w.exercise) or "")


def test_only_rank_zero_has_a_disk():
    from hpml.distributed.ranks import LaunchError

    answer = (LAB.folder / "wrong" / "checkpoint_on_all_ranks.py").read_text(encoding="utf-8")
    with pytest.raises(LaunchError, match="only rank 0 has one"):
        run("checkpoint", answer, DECLARED["checkpoint"].sizes[0])


@pytest.mark.parametrize("case", [(10, 2, 2), (29, 3, 4), (64, 4, 8), (17, 1, 5)])
def test_shards_are_the_minibatches_of_one_big_worker(case):
    images, size, batch = case
    for epoch in (0, 3):
        parts = [TRUSTED.shard(images, rank, size, batch, epoch, 5) for rank in range(size)]
        assert len({len(p) for p in parts}) == 1
        read = np.concatenate(parts, axis=None)
        assert len(set(read)) == len(read) == images // (size * batch) * size * batch
        assert np.array_equal(np.concatenate(parts, axis=1), TRUSTED.shard(images, 0, 1, size * batch, epoch, 5))
    assert not np.array_equal(TRUSTED.shard(images, 0, size, batch, 0, 5), TRUSTED.shard(images, 0, size, batch, 3, 5))


def test_the_arrays_of_the_trusted_side_are_those_of_the_network():
    variables = TRUSTED.network().trainable_variables
    assert [tuple(v.shape) for v in variables] == TRUSTED.shapes() == [w.shape for w in TRUSTED.initial(np.random.default_rng(0))]
    assert sum(v.size for v in map(np.asarray, TRUSTED.initial(np.random.default_rng(0)))) * 4 == TRUSTED.BYTES


def test_sum_of_gradients_of_pieces_is_the_gradient_of_all():
    images, labels = (a[:12] for a in TRUSTED.clothes())
    weights = TRUSTED.initial(np.random.default_rng(1))
    whole = TRUSTED.backward(images, labels, weights)[1]
    parts = [TRUSTED.backward(images[r::3], labels[r::3], weights)[1] for r in range(3)]
    for g, pieces in zip(whole, zip(*parts, strict=True), strict=True):
        assert np.abs(np.mean(pieces, axis=0) - g).max() <= 1e-5 * np.abs(g).max() + 1e-8


def test_the_ceiling_does_the_same_work_and_says_nothing(monkeypatch):
    size = {"ranks": 2, "batch": 4, "steps": 2, "rest": 1}
    args = TRUSTED.sample_train(np.random.default_rng(3), size)
    ends = []
    for rank in range(2):
        monkeypatch.setenv("HPML_RANK", str(rank)), monkeypatch.setenv("HPML_RANKS", "2")
        ends.append(TRUSTED.ceiling(*args[:6], *(w.values[rank] for w in args[6:])))
    drifted = TRUSTED.trained(combine=lambda found, rank: found[rank], start=lambda weights, rank: [w.values[rank] for w in weights])
    for got, wanted in zip(ends, drifted(*args).values, strict=True):
        assert TRUSTED.alike(list(got), list(wanted), 1e-5)


def test_a_timeline_of_horovod_itself_can_be_read(tmp_path):
    names: dict = {}
    exec(program("read_timeline", TEXT.answers["read_timeline"]), names)
    path = tmp_path / "timeline.json"
    found = launch(LAB.folder / "train.py", np=2, args=["--epochs", 2, "--images", 256, "--batch", 32, "--timeline", path], shown=False)
    assert found.returncodes == [0, 0]
    text = path.read_text(encoding="utf-8")
    waiting, moving, fused = names["read_timeline"](text)
    assert waiting > 0 and moving > 0 and 0 < fused <= 1
    assert np.allclose([waiting, moving, fused], TRUSTED.timeline(text))


def test_the_script_equals_on_all_ranks_and_goes_on_from_its_checkpoint(tmp_path):
    options = ["--images", 256, "--batch", 32, "--checkpoint", tmp_path / "model.keras"]
    first = launch(LAB.folder / "train.py", np=2, args=[*options, "--epochs", 1], shown=False)
    then = launch(LAB.folder / "train.py", np=2, args=[*options, "--epochs", 2], shown=False)
    for run_ in (first, then):
        one, two = run_.ranks
        assert one["checksum"] == two["checksum"] and one["test_accuracy"] == two["test_accuracy"]
        assert (one["rank"], two["rank"], one["size"]) == (0, 1, 2)
    assert [r["first"] for r in (*first.ranks, *then.ranks)] == [0, 0, 1, 1]
    assert first.values["checksum"] != then.values["checksum"] and first.values["parameters"] * 4 == TRUSTED.BYTES


def test_copies_that_are_left_alone_do_the_same_work_twice():
    found = launch(LAB.folder / "train.py", np=2, args=["--alone", "--epochs", 1, "--images", 128, "--batch", 32], shown=False)
    one, two = found.ranks
    assert one["size"] == two["size"] == 1 and one["checksum"] == two["checksum"]


def test_the_script_and_the_notebook_have_the_same_network():
    def body(text: str) -> str:
        return text[text.index("    layers = keras.layers"):].split("\n\n\n")[0].split("\n\nmade")[0].strip()

    script = (LAB.folder / "train.py").read_text(encoding="utf-8")
    assert body(script) == body(TEXT.given["network"])


def test_predictions_know_their_truth():
    from hpml.verdict import Measured, Outcome, Verdict

    sent, reached = DECLARED["bytes_per_step"], DECLARED["efficiency"]
    assert isinstance(sent, Prediction) and isinstance(reached, Prediction)
    size = TRUSTED.TRAINED[-1]
    train = Verdict(lab=LAB.lab, exercise="train", outcome=Outcome.PASS, score=6, max_score=6, message="", measured=[Measured(
        target="efficiency", versus="ceiling", start=0.4, full=0.8, ratio=0.91, low=0.9, high=0.92, credit=1, samples=[(1.1, 1.0)])],
        counters={"loopback_bytes": TRUSTED.bytes_of_call(size)})
    assert sent.truth({"train": train}) == pytest.approx(TRUSTED.BYTES / 1000)
    assert sent.truth({}) == pytest.approx(TRUSTED.BYTES / 1000)
    assert reached.truth({"train": train}) == pytest.approx(91) and reached.truth({}) is None
    assert "310 kB" in sent.explain(78, 315.0) and "9 %" in reached.explain(50, 91.0)


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_the_ring_needs_what_its_steps_send(ranks):
    """2(N-1) steps, in each of which every rank sends one N-th."""
    assert TRUSTED.ring_bytes(ranks) == pytest.approx(2 * (ranks - 1) * TRUSTED.BYTES / ranks)


def test_every_number_in_the_prose_was_measured():
    measured = json.loads((LAB.folder / "measured.json").read_text(encoding="utf-8"))
    assert float(measured["kilobytes"]) == pytest.approx(TRUSTED.BYTES / 1000, abs=0.5)
    assert int(measured["tensors"]) == len(TRUSTED.shapes())
    for name in LAB.files:
        assert (Path(LAB.folder) / name).is_file()


def test_declarations_are_of_their_kind():
    assert all(isinstance(DECLARED[name], Exercise) for name in CODE)
    assert set(RANKED) == {"same_start", "average_gradients", "train", "average_metrics", "checkpoint"}
    args = DECLARED["train"].sample(np.random.default_rng(0), DECLARED["train"].sizes[0])
    starts = [a for a in args if isinstance(a, PerRank)]
    assert len(starts) == len(TRUSTED.shapes()) and not any(np.array_equal(*w.values[:2]) for w in starts), "every rank starts elsewhere"
