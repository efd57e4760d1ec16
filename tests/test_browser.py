"""The student notebook of 04-conv-gemm in a real JupyterLab, driven by a real browser, as a student would.

Screenshots of every step go to $HPML_SHOTS if it is set, else to pytest's temporary folder. Nothing is loaded from outside of this
machine: a request that leaves it fails the test.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Route, expect

from hpml import course, machine, source

pytestmark = pytest.mark.browser

LAB = "04-conv-gemm"
RAN = r"\[\d+\]:"                       # the prompt of a cell that has run
SLOW = 60_000                           # ms; the machine may be busy with other things


@dataclass(frozen=True)
class Server:
    """A running JupyterLab: where it listens, the folder that it shows, its cache."""

    url: str
    token: str
    root: Path
    cache: Path

    def ask(self, path: str, method: str = "GET") -> bytes:
        request = urllib.request.Request(self.url + path, method=method, headers={"Authorization": f"token {self.token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return bytes(answer.read())


def wait_for(server: Server, process: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    """Until the server answers. Fails with its log if it ends or does not answer in time."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        try:
            server.ask("/api/status")
            return
        except urllib.error.URLError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab does not answer:\n{log.read_text()}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab as `hpml lab` starts it, with a home, settings and cache of its own. Nothing of it is left running at the end."""
    folder = tmp_path_factory.mktemp("lab")
    root, cache, settings = folder / "notebooks", folder / "cache", folder / "settings"
    shutil.copytree(course.ROOT / "notebooks" / LAB, root)
    cache.mkdir()
    shutil.copy(machine.path(), cache)                      # measured already: not again while a browser is busy
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", secrets.token_hex(16), root, cache)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "HPML_REFEREE"))}
    environment |= {"HOME": str(folder / "home"), "JUPYTER_CONFIG_DIR": str(folder / "config"),
                    "JUPYTER_CONFIG_PATH": str(course.ROOT / "hpml" / "jupyter"), "IPYTHONDIR": str(folder / "ipython"),
                    "JUPYTERLAB_SETTINGS_DIR": str(settings), "HPML_CACHE": str(cache), "HPML_ROOT": str(course.ROOT)}
    (folder / "home").mkdir()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}",
               "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
               f"--IdentityProvider.token={server.token}", "--LabApp.expose_app_in_browser=True"]
    log = folder / "jupyterlab.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, cwd=root, stdin=subprocess.DEVNULL, stdout=out,
                                                 stderr=subprocess.STDOUT) as process:
        started: list[psutil.Process] = []
        try:
            wait_for(server, process, log)
            yield server
            started = psutil.Process(process.pid).children(recursive=True)
            server.ask("/api/shutdown", "POST")
            process.wait(30)
        finally:
            if process.poll() is None:
                started = psutil.Process(process.pid).children(recursive=True)
                process.kill()
            _, left = psutil.wait_procs(started, timeout=15)
            for leftover in left:
                leftover.kill()
    assert not left, f"still running after JupyterLab was shut down: {left}"


@dataclass
class Notebook:
    """The notebook on the page, by the ids of its cells."""

    page: Page
    ids: list[str]
    shots: Path
    taken: list[str] = field(default_factory=list)

    def cell(self, name: str) -> Locator:
        """A cell by the beginning of its id."""
        index = next(i for i, known in enumerate(self.ids) if known.startswith(name))
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{index}"]')

    def shot(self, name: str, at: Locator | None = None) -> None:
        """A screenshot of the window, `at` scrolled to its top."""
        if at is not None:
            at.evaluate("cell => cell.scrollIntoView({block: 'start'})")
        self.taken.append(name)
        self.page.screenshot(path=self.shots / f"{len(self.taken):02}-{name}.png", animations="disabled")

    def idle(self, timeout: float = SLOW) -> None:
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=timeout)

    def run(self, name: str) -> Locator:
        """Select a cell with the mouse, press Shift+Enter, wait until it has run."""
        cell = self.cell(name)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content() or ""
        prompt.click()
        self.page.keyboard.press("Shift+Enter")
        new = re.compile(f"^(?!{re.escape(before.strip())}$){RAN}$") if re.search(RAN, before) else re.compile(f"^{RAN}$")
        expect(prompt).to_have_text(new, timeout=SLOW)
        return cell

    def write(self, name: str, text: str) -> None:
        """Replace a cell's text by hand: click, select all, insert."""
        editor = self.cell(name).locator(".cm-content")
        editor.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        expect(editor).to_contain_text(text.strip().splitlines()[-1].strip())

    def no_traceback(self) -> None:
        outputs = self.page.locator(".jp-Notebook .jp-OutputArea-output", has_text="Traceback (most recent call last)")
        assert outputs.all_text_contents() == []


@pytest.fixture
def notebook(server: Server, browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """The untouched student notebook, open in a fresh browser, with a fresh kernel that is idle, and no verdict from before."""
    shutil.copytree(course.ROOT / "notebooks" / LAB, server.root, dirs_exist_ok=True)
    shutil.rmtree(server.cache / "verdicts", ignore_errors=True)
    shots = Path(os.environ.get("HPML_SHOTS") or tmp_path) / request.node.name.removeprefix("test_")
    shots.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []

    def console(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text} ({message.location.get('url', '')})")

    def guard(route: Route) -> None:
        if route.request.url.startswith(server.url):
            route.continue_()
        else:
            wrong.append(f"a request leaves this machine: {route.request.url}")
            route.abort()

    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(SLOW)
        page.on("console", console)
        page.on("pageerror", lambda error: wrong.append(f"page: {error}"))
        page.route(re.compile("^(https?|wss?):"), guard)
        page.goto(f"{server.url}/lab/tree/{LAB}.ipynb?token={server.token}")
        cells = json.loads((server.root / f"{LAB}.ipynb").read_text(encoding="utf-8"))["cells"]
        opened = Notebook(page, [cell["id"] for cell in cells], shots)
        expect(opened.cell("given-preamble")).to_be_visible(timeout=SLOW)
        opened.idle()
        yield opened
    for session in json.loads(server.ask("/api/sessions")):
        server.ask(f"/api/sessions/{session['id']}", "DELETE")
    assert wrong == []


def test_student(notebook: Notebook) -> None:
    """From opening the notebook to two measured verdicts."""
    page, answers = notebook.page, source.read(course.load().lab(LAB)).answers
    wrong = (course.load().lab(LAB).folder / "wrong" / "im2col_swapped_strides.py").read_text(encoding="utf-8")
    notebook.shot("opened")

    # one cell after the other, with the keyboard only, down to the widget
    widget_at = next(i for i, name in enumerate(notebook.ids) if name.startswith("code-widgets-im2col"))
    notebook.cell(notebook.ids[0]).locator(".jp-InputPrompt").click()
    for name in notebook.ids[: widget_at + 1]:
        page.keyboard.press("Shift+Enter")
        if not name.startswith(("section-", "text-")):
            expect(notebook.cell(name).locator(".jp-InputPrompt")).to_have_text(re.compile(f"^{RAN}$"), timeout=SLOW)
    expect(notebook.cell("code-machine").locator(".hpml-card")).to_be_visible()
    notebook.shot("machine-card", notebook.cell("code-machine"))
    notebook.no_traceback()

    # the widget moves, by keyboard and by mouse
    cell = notebook.cell("code-widgets-im2col")
    widget = cell.locator(".hpml-im2col")
    expect(widget).to_be_visible()
    notebook.shot("widget", cell)
    said, stage = widget.locator(".said"), widget.locator(".stage")
    expect(said).to_contain_text("Window at (0, 0) → row 0")
    expect(widget.locator(".cell.on[data-p]")).to_have_count(9)
    expect(widget.locator(".cell.on[data-p]").first).to_have_attribute("data-p", "0,0,0")
    stage.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("Window at (1, 1) → row 5")
    expect(widget.locator(".cell.on[data-p]").first).to_have_attribute("data-p", "1,1,0")
    expect(widget.locator(".row.on")).to_have_attribute("data-r", "5")
    page.keyboard.press("Shift+ArrowRight")
    expect(said).to_contain_text("Pixel (2, 2) is read 9 times")
    notebook.shot("widget-keyboard", cell)
    widget.locator('[data-p="5,5,0"]').hover()
    expect(said).to_contain_text("Window at (3, 3) → row 15")
    widget.locator('[data-p="5,5,0"]').click()
    expect(said).to_contain_text("Pixel (5, 5) is read 1 time.")
    expect(widget.locator(".cell.hit")).to_have_count(2)            # once in the picture, once in the matrix
    notebook.shot("widget-mouse", cell)

    # a prediction
    notebook.write("predict-patch_expansion", 'predict("patch_expansion", 9)')
    expect(notebook.run("predict-patch_expansion")).to_contain_text("Noted: you predict 9")
    report = notebook.run("check-patch_expansion").locator(".hpml-verdict")
    expect(report).to_contain_text("1/1 points")
    notebook.shot("prediction", notebook.cell("predict-patch_expansion"))

    # a wrong answer, then the right one
    notebook.write("exercise-im2col", wrong)
    notebook.run("exercise-im2col")
    cell = notebook.run("check-im2col")
    report = cell.locator(".hpml-verdict")
    expect(report.locator(".hpml-badge")).to_contain_text("wrong")
    expect(report).to_contain_text("0/3 points")
    expect(report.locator(".hpml-lead")).to_contain_text("First difference at output")
    expect(report.locator(".hpml-hint")).to_contain_text("mirrored on their diagonal")
    expect(report.locator(".hpml-picture svg")).to_be_visible()
    expect(cell).to_contain_text("im2col: wrong, 0 of 3 points so far.")
    notebook.no_traceback()
    notebook.shot("im2col-wrong-answer", notebook.cell("exercise-im2col"))
    notebook.shot("im2col-wrong", cell)

    notebook.write("exercise-im2col", answers["im2col"])
    notebook.run("exercise-im2col")
    cell = notebook.run("check-im2col")
    report = cell.locator(".hpml-verdict")
    expect(report.locator(".hpml-badge")).to_contain_text("pass")
    expect(report).to_contain_text("3/3 points")
    expect(report).to_contain_text("0 bytes copied")
    expect(cell).not_to_contain_text("so far")
    notebook.shot("im2col-right", cell)

    # a measured one
    notebook.write("predict-peak_fraction", 'predict("peak_fraction", 60)')
    notebook.run("predict-peak_fraction")
    notebook.write("exercise-conv_gemm", answers["conv_gemm"])
    notebook.run("exercise-conv_gemm")
    cell = notebook.run("check-conv_gemm")
    report = cell.locator(".hpml-verdict")
    expect(report.locator(".hpml-badge")).to_contain_text(re.compile("pass|partial|too noisy"))
    expect(report).to_contain_text("faster than the six loops")
    expect(report).to_contain_text(re.compile(r"95 % interval [\d.,\s]+–[\d.,\s]+, \d+ pairs"))
    expect(report.locator(".hpml-plots svg")).to_have_count(3)      # paired samples of two targets, and the roofline
    expect(report.locator(".hpml-plots svg").first).to_be_visible()
    notebook.shot("conv_gemm", cell)
    notebook.shot("conv_gemm-plots", report.locator(".hpml-plots"))
    report.locator("summary", has_text="Evidence").click()
    expect(report.locator(".hpml-evidence")).to_contain_text("source sha256")
    notebook.shot("conv_gemm-evidence", report.locator("summary"))
    report.locator("summary").click()
    expect(notebook.run("check-peak_fraction").locator(".hpml-verdict")).to_contain_text("You said 60 %")
    notebook.shot("peak_fraction", notebook.cell("check-peak_fraction"))
    notebook.run("code-hpml-measured")
    expect(notebook.cell("code-hpml-measured").locator("table")).to_contain_text("conv_gemm")
    notebook.shot("measured", notebook.cell("section-what-you-measured"))
    notebook.no_traceback()

    # the same in the dark theme, and at 125 %: what is left of 1280x900 when every pixel is larger
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "false")
    for name in ("code-machine", "code-widgets-im2col", "check-im2col", "check-conv_gemm", "section-what-you-measured"):
        notebook.shot(f"dark-{name}", notebook.cell(name))
    page.evaluate("jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    expect(page.locator("body")).to_have_attribute("data-jp-theme-light", "true")
    page.set_viewport_size({"width": 1024, "height": 720})
    for name in ("code-machine", "code-widgets-im2col", "check-im2col", "check-conv_gemm", "code-hpml-measured"):
        notebook.shot(f"zoom-{name}", notebook.cell(name))
        outputs = notebook.cell(name).locator(".jp-OutputArea-output:has(.hpml, .hpml-im2col), .hpml-im2col .stage")
        widths = outputs.evaluate_all("all => all.map(e => [e.scrollWidth, e.clientWidth])")
        assert widths and all(inner <= outer for inner, outer in widths), f"{name} is cut off at its right edge: {widths}"


def test_a_saved_widget_shows_again_without_its_kernel(notebook: Notebook, server: Server) -> None:
    """A student comes back the next day: the kernel is gone, the widget in the saved notebook is not."""
    page, saved, address = notebook.page, server.root / f"{LAB}.ipynb", notebook.page.url
    notebook.run("code-import-hpml")
    notebook.run("code-widgets-im2col")
    expect(page.locator(".hpml-im2col")).to_be_visible()
    page.keyboard.press("Control+s")
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    page.goto("about:blank")
    for session in json.loads(server.ask("/api/sessions")):
        server.ask(f"/api/sessions/{session['id']}", "DELETE")
    assert "widget-state" in saved.read_text(encoding="utf-8")
    page.goto(address)
    expect(page.locator(".hpml-im2col")).to_contain_text("Window at (0, 0)", timeout=SLOW)


def test_run_all(notebook: Notebook) -> None:
    """Run All on the untouched notebook gets to its end, without a traceback, and each exercise says that it is open."""
    page, lab = notebook.page, course.load().lab(LAB)
    page.locator(".lm-MenuBar-item", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-item", has_text=re.compile("^Run All Cells$")).click()
    last = notebook.cell("code-hpml-measured")
    expect(last.locator(".jp-InputPrompt")).to_have_text(re.compile(f"^{RAN}$"), timeout=2 * SLOW)
    notebook.idle()
    expect(last).to_contain_text("Nothing is measured yet")
    for name in notebook.ids:
        if not name.startswith(("section-", "text-", "manual-")):
            expect(notebook.cell(name).locator(".jp-InputPrompt")).to_have_text(re.compile(f"^{RAN}$"))
    notebook.no_traceback()
    for name, entry in lab.exercises.items():
        if entry.kind == "manual":
            continue
        cell = notebook.cell(f"check-{name}")
        expect(cell.locator(".hpml-badge")).to_contain_text("not attempted")
        expect(cell).to_contain_text(f"{name}: not attempted, 0 of {entry.points:g} points so far.")
        notebook.shot(f"open-{name}", cell)
    cells = json.loads((course.ROOT / "notebooks" / LAB / f"{LAB}.ipynb").read_text(encoding="utf-8"))["cells"]
    for needing in (c["id"] for c in cells if c["metadata"].get("tags") == ["raises-exception"] and c["id"].startswith("code-")):
        expect(notebook.cell(needing).locator(".jp-OutputArea")).to_contain_text("Still open")
    notebook.shot("open-needing", notebook.cell("code-from-hpml-import-data"))
    notebook.shot("end", notebook.cell("section-what-you-measured"))
