"""hpml.data.accuracy: what is written of several seeds."""

import json
from pathlib import Path

import pytest

from hpml.data import Dataset, accuracy, load


def test_every_seed_on_every_set_and_what_the_prose_quotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "load", lambda name: load(accuracy.EMBEDDED))         # the full set needs the network
    asked: list[tuple[int, int]] = []

    def train(pictures: Dataset, epochs: int, seed: int) -> float:
        asked.append((epochs, seed))
        return 0.8 + 0.01 * seed + 0.001 * epochs

    assert accuracy.quoted(tmp_path) == {}
    (tmp_path / "measured.json").write_text('{"here": "kept", "all_accuracy": "old"}')
    accuracy.record(tmp_path, "a network", train, {accuracy.EMBEDDED: 2, accuracy.FULL: 3}, (1, 2, 3))
    assert asked == [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)]
    found = json.loads((tmp_path / "full.json").read_text(encoding="utf-8"))
    assert found["seeds"] == [1, 2, 3] and found["sets"][accuracy.EMBEDDED]["accuracy"] == [81.2, 82.2, 83.2]
    assert all(len(own["seconds"]) == 3 and (own["trained"], own["tested"]) == (10_000, 2000) for own in found["sets"].values())
    assert json.loads((tmp_path / "measured.json").read_text(encoding="utf-8")) == {
        "here": "kept", "all_accuracy": "82.3", "all_spread": "1.0", "all_seeds": "3", "all_epochs": "3"}
