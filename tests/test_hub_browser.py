"""A real hub, as `hpml hub` starts it, and the whole circle on it in a real browser: two students, one instructor.

Screenshots of every step go to $HPML_SHOTS if it is set, else to pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, ConsoleMessage, FrameLocator, Locator, Page, expect
from test_browser import Notebook

from hpml import course, source
from hpml.grade.jobs import alone
from hpml.hub.folder import ClassFolder

LAB = "04-conv-gemm"
WAIT = 240_000                          # ms; the machine may be busy with other things


@dataclass
class Running:
    """A hub that runs: its address, and its folder."""

    url: str
    there: ClassFolder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`hpml hub` with four students and a queue. It ends with Ctrl-C, and then nothing of it may be left."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("the hub's proxy needs Node.js and npm: apt-get install nodejs npm")
    folder = tmp_path_factory.mktemp("hub") / "class"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hpml.cli", "hub", "--to", str(folder), "--port", str(port), "--lab", LAB,
               "--student", "amara", "--student", "bilal", "--student", "chiyo", "--student", "dayo", "--queue", "local"]
    said: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        family: list[psutil.Process] = []
        try:
            for line in process.stdout:
                said.append(line)
                if "Ctrl-C" in line:
                    break
            else:
                pytest.fail("hpml hub ended:\n" + "".join(said))
            yield Running(f"http://127.0.0.1:{port}", ClassFolder(folder))
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            process.send_signal(signal.SIGINT)
            said.append(process.stdout.read())
    assert process.returncode == 0, "".join(said)
    _, left = psutil.wait_procs(family, timeout=30)
    assert len(family) > 5 and not left
    assert not list(Path("/sys/fs/cgroup").glob(f"**/hpml-hub-{process.pid}"))


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("HPML_SHOTS") or tmp_path) / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Desk:
    """One person's browser on the hub."""

    def __init__(self, browser: Browser, hub: Running, name: str, shots: Path) -> None:
        self.hub, self.name, self.shots = hub, name, shots
        self.wrong: list[str] = []
        self.taken = 0
        self.page: Page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        self.page.set_default_timeout(WAIT)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"page: {error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text} ({message.location.get('url', '')})")

    def shot(self, name: str) -> None:
        self.taken += 1
        self.page.screenshot(path=self.shots / f"{self.name}-{self.taken:02}-{name}.png", animations="disabled")

    def log_in(self, password: str | None = None) -> None:
        """Sends the form; `ready` waits for what comes of it."""
        self.page.goto(self.hub.url)
        self.page.fill("#username_input", self.name)
        self.page.fill("#password_input", password or self.hub.there.people()[self.name].password)
        self.page.click("#login_submit")

    def ready(self) -> None:
        expect(self.page.locator(".lm-MenuBar-itemLabel", has_text="Nbgrader")).to_be_visible(timeout=WAIT)

    def menu(self, item: str, menu: str = "Nbgrader") -> None:
        self.page.locator(".lm-MenuBar-itemLabel").get_by_text(menu, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()

    def listed(self, which: str) -> Locator:
        """The assignment's line in the list: `released`, `fetched` or `submitted`."""
        return self.page.locator(f"#{which}_assignments_list > .list_item", has_text=LAB)

    def assignments(self) -> None:
        self.page.locator(".lm-TabBar-tabLabel", has_text="Assignments").click()

    def open_notebook(self) -> Notebook:
        """The fetched notebook, through the assignment list."""
        line = self.listed("fetched")
        line.locator("a.assignment-notebooks-link").click()
        line.locator(".nested_list_item a").click()
        path = self.hub.there.root / "students" / self.name / LAB / f"{LAB}.ipynb"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        opened = Notebook(self.page, [cell["id"] for cell in cells], self.shots)
        expect(opened.cell("given-preamble")).to_be_visible(timeout=WAIT)
        opened.idle(WAIT)
        return opened

    def formgrader(self) -> FrameLocator:
        return self.page.frame_locator("iframe.formgrader, iframe")


    def validate(self, shot: str) -> str:
        """Presses Validate in the notebook's toolbar. Returns what nbgrader says of it."""
        button = self.page.get_by_role("button", name=re.compile("^Validat")).first
        button.click()
        expect(button).to_be_disabled()                 # and reads "Validating..."
        expect(said := self.page.locator("#validation-message")).to_be_visible(timeout=3 * WAIT)
        self.shot(shot)
        text = said.inner_text()
        self.page.locator(".jp-Dialog").get_by_role("button", name="Ok").click()
        return text

    def fetch(self) -> Notebook:
        """From the login to the open notebook."""
        self.log_in()
        self.ready()
        self.menu("Assignment List")
        self.listed("released").get_by_role("button", name="Fetch").click()
        expect(self.listed("fetched")).to_be_visible(timeout=WAIT)
        return self.open_notebook()


def start(notebook: Notebook, name: str) -> Locator:
    """Runs a cell, and waits for nothing."""
    prompt = notebook.cell(name).locator(".jp-InputPrompt")
    prompt.click()
    notebook.page.keyboard.press("Shift+Enter")
    return notebook.cell(name)


def ran(cell: Locator) -> Locator:
    expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"^\[\d+\]:$"), timeout=WAIT)
    return cell


def students_work(amara: Desk, bilal: Desk) -> None:
    """Log in, fetch, answer, check, submit. Both do a step, and only then does anybody wait for what comes of it."""
    students, lab = (amara, bilal), course.load().lab(LAB)
    answers = {"amara": source.read(lab).answers["im2col"],
               "bilal": (lab.folder / "wrong" / "im2col_swapped_strides.py").read_text(encoding="utf-8")}
    amara.log_in("not her password")
    expect(amara.page.locator(".login_error")).to_contain_text("Invalid username or password")
    amara.shot("wrong-password")
    amara.wrong.clear()                                             # the browser reports the refusal
    for student in students:
        student.log_in()
    for student in students:
        student.ready()
        student.menu("Assignment List")
    for student in students:
        student.listed("released").get_by_role("button", name="Fetch").click()
    notebooks = {}
    for student in students:
        expect(student.listed("fetched")).to_be_visible(timeout=WAIT)
        student.shot("fetched")
        notebooks[student.name] = student.open_notebook()
    for student in students:
        notebook = notebooks[student.name]
        for name in ("given-preamble", "code-import-hpml"):
            ran(start(notebook, name))
        notebook.write("predict-patch_expansion", 'predict("patch_expansion", 9)')
        notebook.write("exercise-im2col", answers[student.name])
        for name in ("predict-patch_expansion", "exercise-im2col"):
            ran(start(notebook, name))
    checked = {s.name: start(notebooks[s.name], "check-im2col") for s in students}
    for student in students:
        ran(checked[student.name])
    badge, points = (checked[s.name].locator(".hpml-badge") for s in students)
    expect(badge).to_contain_text("pass")
    expect(points).to_contain_text("wrong")
    for student in students:
        checked[student.name].evaluate("cell => cell.scrollIntoView({block: 'start'})")
        student.shot("checked")
        student.page.keyboard.press("Control+s")
        expect(student.page.locator(".jp-mod-current.jp-mod-dirty")).to_have_count(0)
        expect(student.page.get_by_role("button", name="Validate").first).to_be_visible()
        student.assignments()
    for student in students:
        student.listed("fetched").get_by_role("button", name="Submit").click()
    for student in students:
        expect(student.listed("submitted")).to_contain_text("UTC", timeout=WAIT)
        student.shot("submitted")


def instructor_grades(instructor: Desk) -> None:
    """Collect with formgrader, grade in a terminal."""
    folder = instructor.hub.there.course
    instructor.log_in()
    instructor.ready()
    expect(instructor.page.locator(".jp-DirListing-item", has_text="source")).to_be_visible(timeout=WAIT)
    instructor.shot("opened")
    instructor.menu("Formgrader")
    form = instructor.formgrader()
    line = form.locator("tr", has_text=LAB)
    expect(line).to_be_visible(timeout=WAIT)
    instructor.shot("assignments")
    line.locator(".collect a").click()
    expect(form.locator(".modal.in, .modal.show")).to_contain_text("Successfully collected", timeout=WAIT)
    instructor.shot("collected")
    form.locator(".modal.in, .modal.show").get_by_role("button", name="OK").click()
    assert sorted(p.name for p in (folder / "submitted").iterdir()) == ["amara", "bilal"]

    instructor.menu("New Launcher", "File")
    instructor.page.locator(".jp-LauncherCard:visible", has_text="Terminal").click()
    expect(instructor.page.locator(".jp-Terminal .xterm-screen:visible")).to_be_visible(timeout=WAIT)
    instructor.page.locator(".jp-Terminal .xterm-screen:visible").click()
    done = folder / "grading-done"
    instructor.page.keyboard.type(f"hpml grade {LAB}; echo $? > {done.name}\n")
    end = time.monotonic() + 3 * WAIT / 1000
    while not (done.is_file() and done.read_text().strip()) and time.monotonic() < end:
        instructor.page.wait_for_timeout(500)
    instructor.shot("graded")
    assert done.is_file() and done.read_text().strip() == "0"


def instructor_returns(instructor: Desk) -> None:
    """Look at a submission in formgrader, and return feedback."""
    page, formgrader = instructor.page, f"{instructor.hub.url}/user/instructor/formgrader"
    page.goto(f"{formgrader}/gradebook/{LAB}/{LAB}")
    expect(page.locator("tbody tr")).to_have_count(2, timeout=WAIT)
    instructor.shot("submissions")
    page.locator("tbody tr a").first.click()
    verdict = page.locator(".hpml-verdict", has_text="im2col").first
    expect(verdict).to_be_visible(timeout=WAIT)
    verdict.scroll_into_view_if_needed()
    instructor.shot("formgrader")
    page.goto(f"{formgrader}/manage_assignments")
    page.locator("tr", has_text=LAB).locator(".release-feedback a").click()
    expect(page.locator(".modal.in, .modal.show")).to_contain_text("Successfully released feedback", timeout=WAIT)
    instructor.shot("released")


def students_read(amara: Desk, bilal: Desk) -> None:
    """Fetch the feedback in the assignment list, and open it."""
    for student, outcome, points in ((amara, "pass", 4), (bilal, "wrong", 1)):
        student.assignments()
        student.page.locator("#refresh_assignments_list").click()
        student.listed("submitted").get_by_role("button", name="Fetch Feedback").click()
        student.listed("submitted").locator("a", has_text="view feedback").click()
        student.page.locator(".jp-DirListing-item", has_text=f"{LAB}.html").dblclick()
        page = student.page.frame_locator(".jp-HTMLViewer iframe, iframe.jp-HTMLViewer")
        expect(page.locator("body")).to_contain_text(student.name, timeout=WAIT)
        expect(page.locator("body")).to_contain_text(re.compile(rf"\b{points}\s*of 21 points"))
        expect(page.locator("tr", has_text="im2col")).to_contain_text(outcome)
        student.shot("feedback")


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_the_circle(hub: Running, browser: Browser, shots: Path) -> None:
    amara, bilal, instructor = desks = [Desk(browser, hub, name, shots) for name in ("amara", "bilal", "instructor")]
    students_work(amara, bilal)
    instructor_grades(instructor)
    instructor_returns(instructor)
    students_read(amara, bilal)
    # formgrader asks a server on the network for MathJax; where there is none, its formulas stay text
    assert [f"{desk.name}: {what}" for desk in desks for what in desk.wrong if "mathjax" not in what.lower()] == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_validate_says_what_the_checks_say(hub: Running, browser: Browser, shots: Path) -> None:
    lab, chiyo = course.load().lab(LAB), Desk(browser, hub, "chiyo", shots)
    chiyo.fetch()
    said = chiyo.validate("validated-untouched")
    assert said.count("The following cell failed") == len(lab.exercises) and "You did not provide a response" in said
    assert all(f"{name}: not attempted, 0 of" in said for name, entry in lab.exercises.items() if entry.kind != "manual")
    assert "Traceback" not in said and "Error" not in said

    mine = hub.there.root / "students" / "chiyo" / LAB / f"{LAB}.ipynb"
    book = json.loads(mine.read_text(encoding="utf-8"))
    solved = json.loads((course.ROOT / "solutions" / LAB / f"{LAB}.ipynb").read_text(encoding="utf-8"))["cells"]
    answers = {cell["id"]: cell["source"] for cell in solved if cell["id"].split("-")[0] in ("exercise", "predict", "manual")}
    for cell in book["cells"]:
        cell["source"] = answers.get(cell["id"], cell["source"])
    mine.write_text(json.dumps(book), encoding="utf-8")
    chiyo.page.reload()
    expect(chiyo.page.locator(".jp-Notebook .jp-Cell").first).to_be_visible(timeout=WAIT)
    said = chiyo.validate("validated-solved")
    timed = alone(lab)                      # how fast this machine is just now does not belong in a test
    failed = set(re.findall(r'check\("(\w+)"\)', said))
    assert failed <= timed and ("Success! Your notebook passes all the tests." in said) == (not failed)
    assert chiyo.wrong == []


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.timeout(1500)
def test_a_check_in_the_queue(hub: Running, browser: Browser, shots: Path) -> None:
    dayo = Desk(browser, hub, "dayo", shots)
    notebook = dayo.fetch()
    for name in ("given-preamble", "code-import-hpml"):
        ran(start(notebook, name))
    notebook.write("exercise-im2col", source.read(course.load().lab(LAB)).answers["im2col"])
    ran(start(notebook, "exercise-im2col"))
    notebook.cell("exercise-im2col").locator(".jp-InputPrompt").click()
    dayo.page.keyboard.press("b")
    own = dayo.page.locator(".jp-Notebook .jp-Cell.jp-mod-selected")
    own.locator(".cm-content").click()
    dayo.page.keyboard.insert_text('check("im2col", where="gpu")')
    dayo.page.keyboard.press("Shift+Enter")
    cell = dayo.page.locator(".jp-Notebook .jp-Cell", has_text='where="gpu"')
    expect(cell).to_contain_text(re.compile("Checking im2col on a GPU node: (you are next|it is your turn)"), timeout=WAIT)
    dayo.shot("queued")
    ran(cell)
    expect(cell.locator(".hpml-badge")).to_contain_text("pass")
    expect(cell).to_contain_text("through the GPU queue")
    cell.evaluate("cell => cell.scrollIntoView({block: 'start'})")
    dayo.shot("checked-elsewhere")
    assert dayo.wrong == []
