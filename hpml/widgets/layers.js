// The browser's side of layers: switches, a slider, and the drawing that Python makes of their positions.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "hpml-layers";
  root.dataset.lmSuppressShortcuts = "true";                    // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<fieldset class="switches"><legend>layers that are there</legend></fieldset>
    <div class="bar"></div><div class="stage"></div><p class="said" role="status" aria-live="polite"></p>`;
  const stage = root.querySelector(".stage"), said = root.querySelector(".said");
  const switches = root.querySelector(".switches"), bar = root.querySelector(".bar");
  el.replaceChildren(root);

  const put = (name, value) => { model.set(name, value); model.save_changes(); };
  const boxes = new Map();
  for (const name of model.get("removable")) {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox";
    box.addEventListener("change", () => put("gone", [...boxes].filter(([, b]) => !b.checked).map(([n]) => n)));
    label.append(box, ` ${name}`);
    switches.append(label);
    boxes.set(name, box);
  }
  const label = document.createElement("label"), slider = document.createElement("input"), shown = document.createElement("output");
  const back = document.createElement("button");
  label.textContent = "pictures in a batch";
  Object.assign(slider, { type: "range", min: 0, max: 10, step: 1, id: `batch-${Math.random().toString(36).slice(2)}` });
  label.htmlFor = slider.id;
  slider.addEventListener("input", () => put("batch", 2 ** Number(slider.value)));
  Object.assign(back, { type: "button", textContent: "As published" });
  back.addEventListener("click", () => { model.set("gone", []); model.set("batch", 128); model.save_changes(); });
  bar.append(label, slider, shown, back);

  function draw() {
    const gone = model.get("gone"), batch = model.get("batch");
    for (const [name, box] of boxes) box.checked = !gone.includes(name);
    slider.value = Math.round(Math.log2(batch));
    slider.setAttribute("aria-valuetext", `${batch} pictures`);
    shown.textContent = batch;
    stage.innerHTML = model.get("drawing");
    said.textContent = model.get("said");
  }
  const names = ["drawing", "said", "gone", "batch"].map((name) => `change:${name}`);
  for (const name of names) model.on(name, draw);
  draw();
  return () => { for (const name of names) model.off(name, draw); };
}

export default { render };
