// The browser's side of ring: shows the frames that Python drew, one after the other.
function render({ model, el }) {
  const frames = model.get("frames"), sentences = model.get("said"), last = frames.length - 1;
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const PAUSE = 1100;                                                   // ms between frames

  const root = document.createElement("div");
  root.className = "hpml-ring";
  root.dataset.lmSuppressShortcuts = "true";                            // JupyterLab: these keys are ours while we have the focus
  root.innerHTML = `<div class="stage" tabindex="0" role="application"></div>
    <div class="bar"><button type="button" class="back" aria-label="one step back">◀</button>
    <button type="button" class="on" aria-label="one step on">▶</button>
    <button type="button" class="play"></button><span class="at"></span></div>
    <p class="said" role="status" aria-live="polite"></p>
    <p class="keys">Arrow keys step back and on; Home and End go to the first and last step; the space bar plays.</p>`;
  const find = (name) => root.querySelector(name);
  const stage = find(".stage"), back = find(".back"), on = find("button.on"), play = find(".play");
  stage.setAttribute("aria-label", "Ring allreduce, step by step. Left and right arrow keys step back and on.");
  el.replaceChildren(root);
  let timer = null;

  function draw() {
    const step = model.get("step");
    stage.innerHTML = frames[step];
    stage.firstElementChild.setAttribute("aria-hidden", "true");
    find(".said").textContent = sentences[step];
    find(".at").textContent = `${step} / ${last}`;
    back.setAttribute("aria-disabled", step === 0);
    on.setAttribute("aria-disabled", step === last);
    play.textContent = timer !== null ? "❚❚ Pause" : step === last ? "▶▶ Play again" : "▶▶ Play";
  }
  function go(step) {
    model.set("step", Math.max(0, Math.min(last, step)));
    model.save_changes();
  }
  function stop() {
    if (timer !== null) clearInterval(timer);
    timer = null;
  }
  function byHand(step) { stop(); go(step); draw(); }
  function toggle() {
    if (timer !== null) { stop(); draw(); return; }
    if (model.get("step") === last) go(0);
    if (still.matches) { go(model.get("step") + 1); draw(); return; }   // no motion wanted: a press is a step
    timer = setInterval(() => {
      if (model.get("step") + 1 >= last) stop();
      go(model.get("step") + 1);
      draw();
    }, PAUSE);
    draw();
  }

  back.addEventListener("click", () => byHand(model.get("step") - 1));
  on.addEventListener("click", () => byHand(model.get("step") + 1));
  play.addEventListener("click", toggle);
  const keys = {
    ArrowLeft: () => byHand(model.get("step") - 1), ArrowRight: () => byHand(model.get("step") + 1),
    Home: () => byHand(0), End: () => byHand(last), " ": toggle,
  };
  root.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === " " && event.target !== stage) return;            // a button's own business
    keys[event.key]();
    event.preventDefault();
    event.stopPropagation();
  });

  model.on("change:step", draw);
  draw();
  return () => { stop(); model.off("change:step", draw); };
}

export default { render };
