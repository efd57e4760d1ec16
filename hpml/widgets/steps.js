// The browser's side of steps: sliders, and the drawing that Python makes of their positions.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "hpml-steps";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage"></div><div class="bar"></div><p class="said" role="status" aria-live="polite"></p>`;
  const stage = root.querySelector(".stage"), bar = root.querySelector(".bar"), said = root.querySelector(".said");
  el.replaceChildren(root);

  const put = (name, value) => { model.set(name, value); model.save_changes(); };
  const fields = [];
  for (const [name, words, unit] of [["slower", "worker 1 is slower by", " %"], ["message", "all gradients travel for", ""]]) {
    const label = document.createElement("label"), input = document.createElement("input"), shown = document.createElement("output");
    label.textContent = words;
    Object.assign(input, { type: "range", min: 0, max: 100, step: 5, id: `${name}-${Math.random().toString(36).slice(2)}` });
    label.htmlFor = input.id;
    input.addEventListener("input", () => put(name, Number(input.value)));
    bar.append(label, input, shown);
    fields.push(() => { input.value = model.get(name); shown.textContent = `${model.get(name)}${unit}`; });
  }
  const label = document.createElement("label"), choice = document.createElement("select");
  label.textContent = "send";
  choice.setAttribute("aria-label", "when the gradients are sent");
  for (const [way, words] of Object.entries(model.get("ways"))) choice.add(new Option(words, way));
  choice.addEventListener("change", () => put("way", choice.value));
  bar.append(label, choice);
  fields.push(() => { choice.value = model.get("way"); });

  function draw() {
    for (const field of fields) field();
    stage.innerHTML = model.get("drawing");
    said.textContent = model.get("said");
  }
  const names = ["drawing", "said", "slower", "message", "way"].map((name) => `change:${name}`);
  for (const name of names) model.on(name, draw);
  draw();
  return () => { for (const name of names) model.off(name, draw); };
}

export default { render };
