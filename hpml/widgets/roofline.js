// The browser's side of roofline: moves the point and the roof over the drawing that Python made.
function render({ model, el }) {
  const [peak, bandwidth] = model.get("machine"), kernels = model.get("kernels");
  const root = document.createElement("div");
  root.className = "hpml-roofline";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage" tabindex="0" role="application"></div>
    <p class="said" role="status" aria-live="polite"></p>
    <div class="bar"><span>Jump to</span><span class="jumps"></span></div>
    <div class="bar"><span>Buy</span><button type="button" data-more="bandwidth" aria-pressed="false">2 × bandwidth</button>
    <button type="button" data-more="peak" aria-pressed="false">2 × peak</button></div>
    <p class="keys">Drag the point, or use the arrow keys: left and right change the work per byte, up and down the speed.
    Home puts it under the ridge, End onto the roof.</p>`;
  const stage = root.querySelector(".stage"), said = root.querySelector(".said"), jumps = root.querySelector(".jumps");
  stage.innerHTML = model.get("drawing");
  stage.setAttribute("aria-label", "The roofline of this machine and a point under it. Arrow keys move the point.");
  for (const [name, at] of kernels) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.dataset.intensity = at;
    jumps.append(button);
  }
  el.replaceChildren(root);

  const svg = stage.querySelector("svg");
  const [LEFT, TOP, WIDE, HIGH, LEAST, MOST, LOW, TALL] = svg.dataset.geometry.split(",").map(Number);
  const point = svg.querySelector(".point"), aim = svg.querySelector(".aim"), up = svg.querySelector(".up"), dashed = svg.querySelector(".more");
  svg.setAttribute("aria-hidden", "true");

  const X = (i) => LEFT + WIDE * Math.log(i / LEAST) / Math.log(MOST / LEAST);
  const Y = (s) => TOP + HIGH * Math.log(TALL / s) / Math.log(TALL / LOW);
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  const say = (value) => String(Number(value.toPrecision(3)));
  const now = () => [peak * (model.get("more") === "peak" ? 2 : 1), bandwidth * (model.get("more") === "bandwidth" ? 2 : 1)];
  const roof = (i) => Math.min(now()[0], i * now()[1]);

  function draw() {
    const i = model.get("intensity"), s = model.get("speed"), more = model.get("more"), [p, b] = now(), top = roof(i);
    point.setAttribute("cx", X(i)); point.setAttribute("cy", Y(s));
    aim.setAttribute("cx", X(i)); aim.setAttribute("cy", Y(top));
    up.setAttribute("d", `M${X(i)},${Y(s)}V${Y(top)}`);
    dashed.setAttribute("d", more ? `M${X(LEAST)},${Y(LEAST * b)}L${X(p / b)},${Y(p)}L${X(MOST)},${Y(p)}` : "");
    for (const button of root.querySelectorAll("[data-more]")) button.setAttribute("aria-pressed", String(button.dataset.more === more));
    said.innerHTML = `${say(i)} FLOP/byte: <b>${i < p / b ? "memory" : "arithmetic"} is the limit</b>, at ${say(top)} GFLOP/s. The point is at `
      + (s > 1.005 * top ? `${say(s)}: <b>above the roof</b>. Nothing gets there, unless its bytes come from a cache.`
                         : `${say(s)}: <b>${say(100 * s / top)} %</b> of it.`);
  }

  function put(values) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  }
  const go = (i, s) => put({ intensity: clamp(i, LEAST, MOST), speed: clamp(s, LOW, TALL) });

  function follow(event) {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    go(LEAST * (MOST / LEAST) ** ((x - LEFT) / WIDE), TALL * (LOW / TALL) ** ((y - TOP) / HIGH));
  }
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    stage.focus({ preventScroll: true });
    follow(event);
    event.preventDefault();
  });
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) follow(event); });

  jumps.addEventListener("click", (event) => {                  // to another kernel, as far under the roof as before
    const i = Number(event.target.dataset?.intensity), share = Math.min(1, model.get("speed") / roof(model.get("intensity")));
    if (i) go(i, share * roof(i));
  });
  root.addEventListener("click", (event) => {
    const more = event.target.dataset?.more;
    if (more) put({ more: more === model.get("more") ? "" : more });
  });

  const step = 2 ** 0.25, moves = { ArrowLeft: [1 / step, 1], ArrowRight: [step, 1], ArrowUp: [1, step], ArrowDown: [1, 1 / step] };
  root.addEventListener("keydown", (event) => {
    if (event.target !== stage || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = model.get("intensity"), s = model.get("speed");
    if (event.key in moves) go(i * moves[event.key][0], s * moves[event.key][1]);
    else if (event.key === "Home") go(now()[0] / now()[1], s);
    else if (event.key === "End") go(i, roof(i));
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const heard = ["change:intensity", "change:speed", "change:more"];
  for (const name of heard) model.on(name, draw);
  draw();
  return () => { for (const name of heard) model.off(name, draw); };
}

export default { render };
