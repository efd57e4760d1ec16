// The browser's side of playground, and all of its arithmetic: a network of one hidden layer that trains while you watch. Needs no kernel.
const REACH = 1.15, POINTS = 240, BATCH = 16, PER_FRAME = 12;      // the plane is -REACH to REACH both ways
const BLUE = [0, 114, 178], ORANGE = [222, 130, 0];

function random(seed) {                                            // mulberry32: the same numbers for the same seed, everywhere
  let state = (seed + 1) * 0x9e3779b9 >>> 0;
  const uniform = () => {
    state = state + 0x6d2b79f5 >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

const SHAPES = {                                                   // name: (label 0 or 1, random) -> [x, y]
  clouds: (label, { normal }) => [(label ? 0.45 : -0.45) + 0.2 * normal(), (label ? 0.35 : -0.35) + 0.2 * normal()],
  ring: (label, { uniform, normal }) => {
    const turn = 2 * Math.PI * uniform(), far = label ? 0.85 + 0.07 * normal() : 0.42 * Math.sqrt(uniform());
    return [far * Math.cos(turn), far * Math.sin(turn)];
  },
  corners: (label, { uniform }) => {
    const x = 0.08 + 0.85 * uniform(), y = 0.08 + 0.85 * uniform(), flip = uniform() < 0.5 ? -1 : 1;
    return label ? [flip * x, flip * y] : [flip * x, -flip * y];
  },
  spiral: (label, { uniform, normal }) => {
    const t = Math.sqrt(uniform()), turn = 1.25 * 2 * Math.PI * t + label * Math.PI;
    return [0.95 * t * Math.cos(turn) + 0.02 * normal(), 0.95 * t * Math.sin(turn) + 0.02 * normal()];
  },
};
const NAMES = { clouds: "Two clouds", ring: "Ring", corners: "Four corners", spiral: "Spiral" };

function sample(name, seed) {
  const source = random(1000 + seed), points = [];
  for (let n = 0; n < POINTS; n++) points.push([...SHAPES[name](n % 2, source), n % 2]);
  return points;
}

class Net {                                                        // 2 -> hidden -> 1, ReLU, then the probability of orange
  constructor(hidden, seed) {
    this.source = random(seed);
    this.hidden = hidden;
    this.steps = 0;
    const many = (spread) => Float64Array.from({ length: hidden }, () => spread * this.source.normal());
    this.wx = many(1); this.wy = many(1); this.b = new Float64Array(hidden);
    this.v = many(Math.sqrt(2 / hidden)); this.c = 0;
    this.h = new Float64Array(hidden);
  }
  score(x, y) {
    let z = this.c;
    for (let k = 0; k < this.hidden; k++) {
      this.h[k] = Math.max(0, this.wx[k] * x + this.wy[k] * y + this.b[k]);
      z += this.v[k] * this.h[k];
    }
    return z;
  }
  step(points, rate) {                                             // one minibatch: sample, forward, backward, update
    const n = this.hidden, g = [0, 1, 2, 3].map(() => new Float64Array(n));
    let gc = 0;
    for (let i = 0; i < BATCH; i++) {
      const [x, y, label] = points[Math.floor(this.source.uniform() * points.length)];
      const dz = (1 / (1 + Math.exp(-this.score(x, y))) - label) / BATCH;
      gc += dz;
      for (let k = 0; k < n; k++) {
        g[3][k] += dz * this.h[k];
        if (this.h[k] > 0) {
          const dh = dz * this.v[k];
          g[0][k] += dh * x; g[1][k] += dh * y; g[2][k] += dh;
        }
      }
    }
    for (let k = 0; k < n; k++) {
      this.wx[k] -= rate * g[0][k]; this.wy[k] -= rate * g[1][k]; this.b[k] -= rate * g[2][k]; this.v[k] -= rate * g[3][k];
    }
    this.c -= rate * gc;
    this.steps += 1;
  }
  judge(points) {                                                  // mean loss, and the share that is right
    let loss = 0, right = 0;
    for (const [x, y, label] of points) {
      const z = this.score(x, y), margin = label ? z : -z;
      loss += margin > 0 ? Math.log1p(Math.exp(-margin)) : Math.log1p(Math.exp(margin)) - margin;
      right += margin > 0;
    }
    return [loss / points.length, right / points.length];
  }
}

function render({ model, el }) {
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const root = document.createElement("div");
  root.className = "hpml-playground";
  root.dataset.lmSuppressShortcuts = "true";                       // JupyterLab: these keys are ours while we have the focus
  const id = `hpml-${Math.random().toString(36).slice(2)}`;
  root.innerHTML = `
    <div class="bar data" role="group" aria-label="the points to learn">${Object.entries(NAMES).map(([name, words]) =>
      `<button type="button" data-name="${name}"><canvas width="44" height="44" aria-hidden="true"></canvas><span>${words}</span></button>`).join("")}</div>
    <div class="stage">
      <figure><figcaption>what it takes the plane for</figcaption>
        <canvas class="plane" width="600" height="600" tabindex="0" role="img"></canvas></figure>
      <figure><figcaption>its hidden neurons</figcaption><div class="neurons"></div></figure>
      <figure><figcaption>loss</figcaption><canvas class="loss" width="520" height="300" aria-hidden="true"></canvas>
        <p class="numbers"><b class="right"></b> right · loss <b class="now"></b> · step <b class="steps"></b></p></figure>
    </div>
    <div class="bar">
      <button type="button" class="play"></button>
      <button type="button" class="one">One step</button>
      <button type="button" class="again" title="the same points, other random weights">New beginning</button>
      <label for="${id}h">hidden neurons</label><input type="range" id="${id}h" class="hidden" min="1" max="16" step="1">
      <output for="${id}h"></output>
      <label for="${id}r">step length</label><select id="${id}r" class="rate">${[0.01, 0.03, 0.1, 0.3, 1].map((r) =>
      `<option value="${r}">${r}</option>`).join("")}</select>
    </div>
    <p class="said" role="status" aria-live="polite"></p>
    <p class="keys">A thin line is where a neuron begins to answer; point at a small picture to find its line. Click in the plane to add a blue
      point, with Shift an orange one. Space plays and pauses.</p>`;
  const find = (name) => root.querySelector(name);
  const plane = find(".plane"), curve = find(".loss"), neurons = find(".neurons"), play = find(".play"), said = find(".said");
  const slider = find("input.hidden"), rate = find("select.rate");
  el.replaceChildren(root);

  let points, net, losses, frame = null, chosen = -1, spoken = 0, added = [];
  const rough = document.createElement("canvas");                  // pictures are computed coarsely and drawn smoothly
  const paint = rough.getContext("2d", { willReadFrequently: true });

  const ink = () => getComputedStyle(root.isConnected ? root : document.body).color;      // JupyterLab renders before it attaches
  function dark() {                                                // is the text light? then the page is dark
    const [r, g, b] = (ink().match(/[\d.]+/g) ?? [0, 0, 0]).map(Number);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 140;
  }
  function colours(canvas, cells, value) {                         // value(x, y): -1 blue to 1 orange
    const image = paint.createImageData(cells, cells), ground = dark() ? [30, 30, 30] : [255, 255, 255];
    for (let j = 0; j < cells; j++) for (let i = 0; i < cells; i++) {
      const x = ((i + 0.5) / cells * 2 - 1) * REACH, y = (1 - (j + 0.5) / cells * 2) * REACH;
      const v = Math.max(-1, Math.min(1, value(x, y))), side = v < 0 ? BLUE : ORANGE, at = 4 * (j * cells + i);
      for (let c = 0; c < 3; c++) image.data[at + c] = ground[c] + (side[c] - ground[c]) * 0.75 * Math.abs(v);
      image.data[at + 3] = 255;
    }
    rough.width = rough.height = cells;
    paint.putImageData(image, 0, 0);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = true;
    pen.drawImage(rough, 0, 0, canvas.width, canvas.height);
    return pen;
  }
  const place = (canvas, x, y) => [(x / REACH + 1) / 2 * canvas.width, (1 - y / REACH) / 2 * canvas.height];
  function dots(canvas, shown, size) {                             // blue are circles, orange are diamonds
    const pen = canvas.getContext("2d");
    for (const [x, y, label] of shown) {
      const [px, py] = place(canvas, x, y);
      pen.beginPath();
      if (label) {
        const r = 1.25 * size;
        pen.moveTo(px, py - r); pen.lineTo(px + r, py); pen.lineTo(px, py + r); pen.lineTo(px - r, py); pen.closePath();
      } else pen.arc(px, py, size, 0, 2 * Math.PI);
      pen.fillStyle = `rgb(${label ? ORANGE : BLUE})`;
      pen.fill();
      pen.lineWidth = size / 4;
      pen.strokeStyle = dark() ? "#1e1e1e" : "#ffffff";
      pen.stroke();
    }
  }
  function line(pen, canvas, k) {                                  // where neuron k begins to answer
    const [a, b, c] = [net.wx[k], net.wy[k], net.b[k]], far = 4 * REACH, size = Math.hypot(a, b);
    if (size < 1e-9) return;
    const [x, y] = [-a * c / size ** 2, -b * c / size ** 2], [dx, dy] = [-b / size * far, a / size * far];
    pen.beginPath();
    pen.moveTo(...place(canvas, x - dx, y - dy));
    pen.lineTo(...place(canvas, x + dx, y + dy));
    pen.strokeStyle = dark() ? "#ffffff" : "#000000";
    pen.globalAlpha = k === chosen ? 1 : 0.28;
    pen.lineWidth = k === chosen ? 5 : 2;
    pen.stroke();
    pen.globalAlpha = 1;
  }

  function draw() {
    const pen = colours(plane, 75, (x, y) => Math.tanh(net.score(x, y) / 2));
    for (let k = 0; k < net.hidden; k++) line(pen, plane, k);
    dots(plane, points, 8);
    const all = [...neurons.children];
    let largest = 1e-9;
    for (let k = 0; k < net.hidden; k++) {
      largest = Math.max(largest, Math.abs(net.v[k]) * (REACH * (Math.abs(net.wx[k]) + Math.abs(net.wy[k])) + Math.max(0, net.b[k])));
    }
    all.forEach((button, k) => {
      const scale = 2.4 / largest;
      colours(button.firstElementChild, 22, (x, y) =>
        scale * net.v[k] * Math.max(0, net.wx[k] * x + net.wy[k] * y + net.b[k]));
      button.classList.toggle("on", k === chosen);
    });
    drawLoss();
    const [loss, right] = net.judge(points);
    find(".right").textContent = `${(100 * right).toFixed(0)} %`;
    find(".now").textContent = loss.toFixed(3);
    find("b.steps").textContent = net.steps.toLocaleString("en").replaceAll(",", "\u202f");
    const sentence = `After ${net.steps} steps ${(100 * right).toFixed(0)} % of ${points.length} points are right, loss ${loss.toFixed(3)}.`;
    plane.setAttribute("aria-label", `${NAMES[model.get("data")]}, ${net.hidden} hidden neurons. ${sentence}`);
    if (frame === null || performance.now() - spoken > 4000) {     // not sixty times a second
      spoken = performance.now();
      said.textContent = sentence;
    }
    play.textContent = frame === null ? "▶ Play" : "❚❚ Pause";
  }
  function drawLoss() {
    const pen = curve.getContext("2d"), { width, height } = curve, left = 58, foot = 14;
    const top = Math.max(0.75, Math.min(3, Math.max(...losses.slice(0, 4)) * 1.1));
    pen.clearRect(0, 0, width, height);
    pen.font = "22px system-ui, sans-serif";
    pen.fillStyle = pen.strokeStyle = ink();
    pen.textAlign = "right";
    for (const level of [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5].filter((l) => l <= top && (top < 1.2 || l % 0.5 === 0))) {
      const y = height - foot - level / top * (height - foot - 14);
      pen.globalAlpha = 0.25;
      pen.lineWidth = 1.5;
      pen.beginPath(); pen.moveTo(left, y); pen.lineTo(width, y); pen.stroke();
      pen.globalAlpha = 1;
      pen.fillText(String(level), left - 8, y + 7);
    }
    pen.beginPath();
    losses.forEach((loss, n) => {
      const x = left + (losses.length < 2 ? 0 : n / Math.max(losses.length - 1, 60)) * (width - left - 6);
      const y = height - foot - Math.min(loss, top) / top * (height - foot - 14);
      if (n) pen.lineTo(x, y); else pen.moveTo(x, y);
    });
    pen.strokeStyle = "#d55e00";
    pen.lineWidth = 4;
    pen.stroke();
  }

  function note() {
    losses.push(net.judge(points)[0]);
    if (losses.length > 800) losses = losses.filter((_, n) => n % 2 === 0);
  }
  function steps(count) {
    for (let n = 0; n < count; n++) net.step(points, Number(rate.value));
    note();
  }
  function tick() {
    frame = requestAnimationFrame(tick);
    steps(PER_FRAME);
    draw();
  }
  function stop() { if (frame !== null) cancelAnimationFrame(frame); frame = null; }
  function toggle() {
    if (frame !== null) stop();
    else if (still.matches) for (let n = 0; n < 25; n++) steps(PER_FRAME);      // no motion wanted: a press is 300 steps
    else frame = requestAnimationFrame(tick);
    draw();
  }

  function begin() {                                               // new weights; points, unless they are others now, stay
    points = [...sample(model.get("data"), 1), ...added];
    net = new Net(model.get("hidden"), model.get("seed"));
    losses = [];
    note();
    chosen = -1;
    while (neurons.children.length > net.hidden) neurons.lastElementChild.remove();
    while (neurons.children.length < net.hidden) {
      const k = neurons.children.length, button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `hidden neuron ${k + 1}: show its line`);
      button.innerHTML = `<canvas width="88" height="88" aria-hidden="true"></canvas>`;
      const show = (which) => () => { chosen = which; if (frame === null) draw(); };
      for (const event of ["mouseenter", "focus"]) button.addEventListener(event, show(k));
      for (const event of ["mouseleave", "blur"]) button.addEventListener(event, show(-1));
      neurons.append(button);
    }
    for (const button of root.querySelectorAll(".data button")) button.setAttribute("aria-pressed", button.dataset.name === model.get("data"));
    slider.value = model.get("hidden");
    find("output").textContent = model.get("hidden");
    rate.value = String(model.get("rate"));
    draw();
  }
  function put(name, value) { model.set(name, value); model.save_changes(); }
  function faster() { rate.value = String(model.get("rate")); }    // a new step length does not begin anew
  function others() { added = []; begin(); }

  for (const button of root.querySelectorAll(".data button")) {
    dots(button.firstElementChild, sample(button.dataset.name, 1).slice(0, 90), 2.2);
    button.addEventListener("click", () => { if (model.get("data") === button.dataset.name) others(); else put("data", button.dataset.name); });
  }
  play.addEventListener("click", toggle);
  find(".one").addEventListener("click", () => { stop(); steps(1); draw(); });
  find(".again").addEventListener("click", () => put("seed", model.get("seed") + 1));
  slider.addEventListener("input", () => put("hidden", Number(slider.value)));
  rate.addEventListener("change", () => put("rate", Number(rate.value)));
  plane.addEventListener("click", (event) => {
    const box = plane.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width * 2 - 1) * REACH, y = (1 - (event.clientY - box.top) / box.height * 2) * REACH;
    const point = [x, y, event.shiftKey ? 1 : 0];
    added.push(point); points.push(point);
    if (frame === null) draw();
  });
  plane.addEventListener("keydown", (event) => {
    if (event.key !== " ") return;
    toggle();
    event.preventDefault();
    event.stopPropagation();
  });

  const heard = { data: others, hidden: begin, seed: begin, rate: faster };
  for (const [name, what] of Object.entries(heard)) model.on(`change:${name}`, what);
  const watch = new MutationObserver(() => { if (frame === null) draw(); });    // the page changes its theme
  watch.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "style"] });
  begin();
  requestAnimationFrame(() => { if (frame === null) draw(); });    // attached by now, so in the colours of the page
  return () => { stop(); watch.disconnect(); for (const [name, what] of Object.entries(heard)) model.off(`change:${name}`, what); };
}

export default { render };
