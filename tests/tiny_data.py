"""For the tests of hpml.data: a registry with one small set, its files, and a server that can break off."""

import hashlib
import http.server

import numpy as np
import yaml


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def spec(content):
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def tiny_files():
    """The four IDX files of `tiny`, name → bytes: 6 + 3 images of 4×5 in three classes."""
    rng = np.random.default_rng(0)
    files = {}
    for count, part in ((6, "train"), (3, "t10k")):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (count, 4, 5), np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 3)
    return files


def write_registry(folder, files, sources):
    entry = {"title": "Tiny", "licence": "MIT", "publisher": "this test", "page": "http://127.0.0.1",
             "layout": "idx", "shape": [4, 5, 1], "train": 6, "test": 3, "classes": ["a", "b", "c"],
             "files": {name: spec(content) for name, content in files.items()}, "sources": sources}
    folder.mkdir(exist_ok=True)
    (folder / "registry.yml").write_text(yaml.safe_dump({"datasets": {"tiny": entry}}, sort_keys=False))


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` (path → bytes), with ranges; the next answers stop after `cuts` bytes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.ranges = {}, [], True
        self.sent = []                          # (path, first byte, count) of each answer

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        body = self.server.content.get(self.path)
        if body is None:
            return self.send_error(404)
        asked = self.headers.get("Range") if self.server.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        rest = body[start:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        part = rest[: self.server.cuts.pop(0)] if self.server.cuts else rest
        self.server.sent.append((self.path, start, len(part)))
        self.wfile.write(part)
