// The browser's side of im2col: moves the window over the drawing that Python made, and lights up what it reads.
function render({ model, el }) {
  const [H, W, C, k] = model.get("shape");
  const across = W - k + 1, rows = (H - k + 1) * across;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  const root = document.createElement("div");
  root.className = "hpml-im2col";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage" tabindex="0" role="application"></div>
    <div class="bar"><button type="button"></button><span class="said" role="status" aria-live="polite"></span></div>
    <p class="keys">Hover or drag to move the window, or use the arrow keys. Click on a pixel to find it in the matrix;
    Shift + arrow keys choose another one, Escape none.</p>`;
  const stage = root.querySelector(".stage"), button = root.querySelector("button"), said = root.querySelector(".said");
  stage.innerHTML = model.get("drawing");
  stage.setAttribute("aria-label", `A picture of ${H} by ${W} pixels and its patch matrix. Arrow keys move the window, `
    + "Shift and arrow keys choose a pixel, Home and End go to the first and last position.");
  el.replaceChildren(root);

  const svg = stage.querySelector("svg");
  const [LEFT, TOP, PIXEL, ROW, RIGHT, STEP] = svg.dataset.geometry.split(",").map(Number);
  const pixels = [...svg.querySelectorAll("[data-p]")], places = [...svg.querySelectorAll("[data-q]")];
  const lines = [...svg.querySelectorAll(".row")], windows = [...svg.querySelectorAll(".window")];
  const lit = svg.querySelector(".lit"), link = svg.querySelector(".link");
  const where = new Map(pixels.map((g) => [g.dataset.p, g]));
  svg.setAttribute("aria-hidden", "true");

  let filled = rows, timer = null, shown = { row: -1, pixel: "" };

  const reads = (at, length) => Math.min(at, length - k) - Math.max(0, at - k + 1) + 1;
  const clamp = (value, most) => Math.max(0, Math.min(most, value));

  function draw() {
    const row = model.get("row"), pixel = model.get("pixel"), name = pixel.join(",");
    const r = Math.floor(row / across), s = row % across;
    if (row !== shown.row) {
      for (const g of svg.querySelectorAll(".on")) g.classList.remove("on");
      for (let c = 0; c < C; c++) {
        for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) where.get(`${r + i},${s + j},${c}`).classList.add("on");
        windows[c].setAttribute("x", LEFT + s * PIXEL);
        windows[c].setAttribute("y", TOP + c * STEP + r * PIXEL);
      }
      lines[row].classList.add("on");
      for (const g of lines[row].querySelectorAll(".cell")) g.classList.add("on");
      lit.setAttribute("y", TOP + row * ROW);
      const x1 = LEFT + (s + k) * PIXEL, y1 = TOP + (r + k / 2) * PIXEL, x2 = RIGHT - 30, y2 = TOP + (row + 0.5) * ROW;
      link.setAttribute("d", `M${x1},${y1}C${(x1 + x2) / 2},${y1} ${(x1 + x2) / 2},${y2} ${x2},${y2}`);
    }
    if (name !== shown.pixel) {
      for (const g of svg.querySelectorAll(".hit")) g.classList.remove("hit");
      if (name) for (const g of [...pixels, ...places]) if (g.dataset.p === name || g.dataset.q === name) g.classList.add("hit");
    }
    shown = { row, pixel: name };
    lines.forEach((line, m) => line.classList.toggle("empty", m >= filled));
    const cells = H * W * C, matrix = rows * k * k * C;
    const times = pixel.length ? reads(pixel[0], H) * reads(pixel[1], W) : 0;
    said.innerHTML = `Window at (${r}, ${s}) → <b>row ${row}</b>. `
      + (times ? `Pixel (${pixel[0]}, ${pixel[1]}) is read <b>${times} time${times === 1 ? "" : "s"}</b>. ` : "")
      + `Matrix / picture = ${matrix} / ${cells} = <b>${(matrix / cells).toFixed(2)}</b>`;
    button.textContent = timer !== null ? "❚❚ Pause" : filled >= rows ? "▶ Fill the matrix" : still.matches ? "▶ Next row" : "▶ Continue";
  }

  const put = (name, value) => { model.set(name, value); model.save_changes(); };
  const go = (row) => { if (row !== model.get("row")) put("row", row); };
  const stop = () => { if (timer !== null) clearInterval(timer); timer = null; };

  function fill() {                                             // one row more; at the end, stop
    filled += 1;
    go(filled - 1);
    if (filled >= rows) stop();
    draw();
  }

  button.addEventListener("click", () => {
    if (timer !== null) { stop(); draw(); return; }
    if (filled >= rows) filled = 0;
    if (still.matches) { fill(); return; }                      // no motion of its own: a row for each press
    timer = setInterval(fill, Math.max(50, Math.min(450, 7000 / rows)));
    fill();
  });

  function byHand() { if (timer !== null || filled < rows) { stop(); filled = rows; draw(); } }

  stage.addEventListener("pointermove", (event) => {
    if (timer !== null) return;                                 // while it plays, a passing mouse does not disturb it
    const cell = event.target.closest?.("[data-p]"), line = event.target.closest?.(".row");
    if (cell) {
      const [y, x] = cell.dataset.p.split(",").map(Number), half = Math.floor(k / 2);
      byHand();
      go(clamp(y - half, H - k) * across + clamp(x - half, W - k));
    } else if (line) { byHand(); go(Number(line.dataset.r)); }
  });
  stage.addEventListener("pointerdown", (event) => { if (event.target.hasPointerCapture?.(event.pointerId)) event.target.releasePointerCapture(event.pointerId); });
  stage.addEventListener("click", (event) => {
    const cell = event.target.closest?.(".cell");
    if (!cell) return;
    const name = cell.dataset.p ?? cell.dataset.q;
    put("pixel", name === model.get("pixel").join(",") ? [] : name.split(",").map(Number));
  });
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  root.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const row = model.get("row"), pixel = model.get("pixel"), r = Math.floor(row / across), s = row % across;
    if (event.key in moves && event.shiftKey) {
      const [dy, dx] = moves[event.key], half = Math.floor(k / 2);
      put("pixel", pixel.length ? [clamp(pixel[0] + dy, H - 1), clamp(pixel[1] + dx, W - 1), pixel[2]] : [r + half, s + half, 0]);
    } else if (event.key in moves) {
      const [dy, dx] = moves[event.key];
      byHand();
      go(clamp(r + dy, H - k) * across + clamp(s + dx, W - k));
    } else if (event.key === "Home" || event.key === "End") { byHand(); go(event.key === "Home" ? 0 : rows - 1); }
    else if (event.key === "Escape" && pixel.length) put("pixel", []);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  model.on("change:row", draw);
  model.on("change:pixel", draw);
  still.addEventListener("change", draw);
  draw();
  return () => { stop(); model.off("change:row", draw); model.off("change:pixel", draw); still.removeEventListener("change", draw); };
}

export default { render };
