// The browser's side of depth: two sliders, and the drawing that Python makes of their positions.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "hpml-depth";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage"></div><div class="bar"></div><p class="said" role="status" aria-live="polite"></p>`;
  const stage = root.querySelector(".stage"), bar = root.querySelector(".bar"), said = root.querySelector(".said");
  el.replaceChildren(root);

  const fields = [];
  for (const [name, words, min, max, step] of [["layers", "layers", 2, 64, 2], ["gain", "size of the weights", 0.6, 1.4, 0.05]]) {
    const label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("output");
    label.textContent = words;
    Object.assign(input, { type: "range", min, max, step, id: `${name}-${Math.random().toString(36).slice(2)}` });
    label.htmlFor = input.id;
    input.addEventListener("input", () => { model.set(name, Number(input.value)); model.save_changes(); });
    bar.append(label, input, shown);
    fields.push(() => { input.value = model.get(name); shown.textContent = String(Number(model.get(name).toFixed(2))); });
  }

  function draw() {
    for (const field of fields) field();
    stage.innerHTML = model.get("drawing");
    said.textContent = model.get("said");
  }
  const names = ["drawing", "said", "layers", "gain"].map((name) => `change:${name}`);
  for (const name of names) model.on(name, draw);
  draw();
  return () => { for (const name of names) model.off(name, draw); };
}

export default { render };
