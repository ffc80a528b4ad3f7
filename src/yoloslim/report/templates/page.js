"use strict";
const charts = JSON.parse(document.getElementById("charts").textContent);
const views = {};
const tip = document.getElementById("tip");

/* Tooltips are the page's own: lines of text under the pointer, inside the window. */
function showTip(event, value) {
  if (!value) { tip.hidden = true; return; }
  tip.replaceChildren(...Object.entries(value).map(([name, text]) => {
    const line = document.createElement("div"), strong = document.createElement("b");
    strong.textContent = text;
    line.append(name, strong);
    return line;
  }));
  tip.hidden = false;
  const at = event.changedTouches ? event.changedTouches[0] : event;
  const left = Math.min(at.clientX + 14, document.documentElement.clientWidth - tip.offsetWidth - 8);
  const above = at.clientY - tip.offsetHeight - 14;
  tip.style.left = Math.max(8, left) + scrollX + "px";
  tip.style.top = (above > 4 ? above : at.clientY + 18) + scrollY + "px";
}

function openDetails(name) {
  let found;
  for (const article of document.querySelectorAll("[data-detail]")) {
    article.hidden = article.dataset.detail !== name;
    if (!article.hidden) found = article;
  }
  if (found) { found.focus({preventScroll: true}); found.scrollIntoView({block: "nearest"}); }
}

async function draw(name, choice) {
  const {spec, variants} = charts[name];
  const shown = choice ? {...spec, ...variants[choice]} : spec;
  const box = document.getElementById("chart-" + name);
  views[name]?.finalize();
  const result = await vegaEmbed(box, shown, {
    renderer: "svg", actions: false, tooltip: (_, event, item, value) => showTip(event, value),
  });
  views[name] = result.view;
  box.style.minHeight = "";
  result.view.addEventListener("click", (event, item) => {
    if (!item?.datum) return;
    if (item.tooltip) showTip(event, item.tooltip);
    if (item.datum.name) openDetails(item.datum.name);
  });
}

/* The page is there at once; then its charts follow from top to bottom, a task each. */
(async () => {
  for (const box of document.querySelectorAll("[data-chart]")) {
    await new Promise((done) => setTimeout(done));
    if (!views[box.dataset.chart]) await draw(box.dataset.chart).catch((error) => console.error(error));
  }
})();

for (const control of document.querySelectorAll("[data-for]"))
  control.addEventListener("change", () => draw(control.dataset.for, control.value));
for (const button of document.querySelectorAll("[data-open]"))
  button.addEventListener("click", () => openDetails(button.dataset.open));
for (const slider of document.querySelectorAll(".photo input"))
  slider.addEventListener("input", () => slider.closest(".photo").style.setProperty("--cut", slider.value + "%"));
for (const button of document.querySelectorAll(".copy"))
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("pre");
    try { await navigator.clipboard.writeText(text.textContent); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(text); button.textContent = "selected"; }
  });
addEventListener("scroll", () => { tip.hidden = true; }, {passive: true});
addEventListener("beforeprint", () => { for (const name in charts) if (!views[name]) draw(name); });
