// The browser's side of receptive_field: moves the frames over the drawing that Python made, and asks for another stack of layers.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "hpml-field";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage" tabindex="0" role="application"></div>
    <div class="said" role="status" aria-live="polite"></div>
    <div class="bar"></div>
    <p class="keys">Point at a number in any layer; a click keeps it. Or use the arrow keys, and + and − (or Page Up and Down) for the
    layer. The boxes change the layers.</p>`;
  const stage = root.querySelector(".stage"), said = root.querySelector(".said"), bar = root.querySelector(".bar");
  stage.setAttribute("aria-label", "A picture and the layers of a network. Arrow keys choose a number, plus and minus its layer.");
  el.replaceChildren(root);

  let svg, places, frames, kept = false;
  const clamp = (value, most) => Math.max(0, Math.min(most, value));

  function span(layer, at) {                                    // first and last index in the picture and in each layer up to its own
    let low = at, high = at;
    const found = [[low, high]];
    for (const [k, s] of model.get("layers").slice(0, layer).reverse()) {
      low = low * s;
      high = high * s + k - 1;
      found.push([low, high]);
    }
    return found.reverse();
  }

  function paint() {                                            // a new drawing, and boxes for its layers
    stage.innerHTML = model.get("drawing");
    svg = stage.querySelector("svg");
    svg.setAttribute("aria-hidden", "true");
    places = svg.dataset.places.split(" ").map((p) => p.split(",").map(Number));
    frames = [...svg.querySelectorAll("[data-frame]")];
    const layers = model.get("layers");
    const focus = bar.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const box = (n, i, from, to) => `<select data-name="${n}-${i}" aria-label="layer ${n + 1}: ${i ? "stride" : "window"}">`
      + Array.from({ length: to - from + 1 }, (_, v) => `<option${v + from === layers[n][i] ? " selected" : ""}>${v + from}</option>`).join("")
      + "</select>";
    bar.innerHTML = layers.map((_, n) => `<span class="layer"><b>${n + 1}</b> window ${box(n, 0, 1, 7)} stride ${box(n, 1, 1, 3)}</span>`).join("")
      + `<button type="button" data-name="more">+ layer</button><button type="button" data-name="less">− layer</button>`;
    bar.querySelector('[data-name="more"]').disabled = layers.length >= 6;
    bar.querySelector('[data-name="less"]').disabled = layers.length <= 1;
    if (focus) bar.querySelector(`[data-name="${focus}"]`)?.focus();
    draw();
  }

  function draw() {
    const [layer, row, column] = model.get("at"), layers = model.get("layers");
    if (layer >= places.length) return;                         // the drawing of this stack is on its way
    const down = span(layer, row), right = span(layer, column);
    frames.forEach((frame, n) => {
      frame.setAttribute("visibility", n > layer ? "hidden" : "visible");
      frame.classList.toggle("own", n === layer);
      if (n > layer) return;
      const [x, y, cell] = places[n];
      frame.setAttribute("x", x + right[n][0] * cell);
      frame.setAttribute("y", y + down[n][0] * cell);
      frame.setAttribute("width", (right[n][1] - right[n][0] + 1) * cell);
      frame.setAttribute("height", (down[n][1] - down[n][0] + 1) * cell);
    });
    const step = layers.slice(0, layer).reduce((all, [, s]) => all * s, 1);
    const problem = model.get("problem");
    said.classList.toggle("problem", problem !== "");
    if (problem) said.textContent = `Not possible: ${problem}.`;
    else if (layer === 0) said.innerHTML = `Pixel (${row}, ${column}) of the picture: it has seen <b>itself</b>.`;
    else said.innerHTML = `Layer ${layer}, number (${row}, ${column}) has seen <b>${down[0][1] - down[0][0] + 1}×${right[0][1] - right[0][0] + 1} `
      + `pixels</b>, from row ${down[0][0]} and column ${right[0][0]} on; its neighbour begins <b>${step}</b> pixel${step === 1 ? "" : "s"} further.`;
  }

  const put = (at) => {
    if (at.join() !== model.get("at").join()) { model.set("at", at); model.save_changes(); }
  };
  const ask = (layers) => { model.set("wanted", layers); model.save_changes(); };

  function under(event) {                                       // the number under the mouse, if there is one
    const layer = event.target.closest?.(".map")?.dataset.layer;
    if (layer === undefined) return null;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const [x, y, cell, count] = places[layer];
    return [Number(layer), clamp(Math.floor((point.y - y) / cell), count - 1), clamp(Math.floor((point.x - x) / cell), count - 1)];
  }

  stage.addEventListener("pointermove", (event) => {
    const at = kept ? null : under(event);
    if (at) put(at);
  });
  stage.addEventListener("click", (event) => {
    const at = under(event);
    if (!at) { kept = false; return; }
    kept = !(kept && at.join() === model.get("at").join());
    put(at);
  });
  bar.addEventListener("change", (event) => {
    const [n, i] = event.target.dataset.name.split("-").map(Number);
    const layers = model.get("layers").map((layer) => [...layer]);
    layers[n][i] = Number(event.target.value);
    ask(layers);
  });
  bar.addEventListener("click", (event) => {
    const layers = model.get("layers");
    if (event.target.dataset.name === "more") ask([...layers, [3, 1]]);
    if (event.target.dataset.name === "less") ask(layers.slice(0, -1));
  });
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const others = { "+": 1, "=": 1, PageDown: 1, "-": -1, PageUp: -1 };
  root.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const [layer, row, column] = model.get("at");
    if (event.key in moves) {
      const [dy, dx] = moves[event.key], most = places[layer][3] - 1;
      put([layer, clamp(row + dy, most), clamp(column + dx, most)]);
    } else if (event.key in others) {
      const to = clamp(layer + others[event.key], places.length - 1), from = span(layer, row)[0], side = span(layer, column)[0];
      const count = places[to][3], step = model.get("layers").slice(0, to).reduce((all, [, s]) => all * s, 1);
      const half = (span(to, 0)[0][1]) / 2;                     // the number whose field has its middle nearest to that of the old one
      const near = ([a, b]) => clamp(Math.round(((a + b) / 2 - half) / step), count - 1);
      put([to, near(from), near(side)]);
    } else if (event.key === "Escape") kept = false;
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const asked = () => {                                         // refused: the boxes go back to what is drawn
    if (model.get("problem")) paint(); else draw();
  };
  model.on("change:drawing", paint);
  model.on("change:at", draw);
  model.on("change:problem", asked);
  paint();
  return () => { model.off("change:drawing", paint); model.off("change:at", draw); model.off("change:problem", asked); };
}

export default { render };
