// The view of the tab Monitor: what the loss is made of, how the network responds, and whether it still gets better.

import { duration, h, percent, put, short } from "./dom.js";
import { badge, levels, light, progress, stateBadge, warnings } from "./parts.js";

const MODES = { stable: "green", aggressive: "red", cooldown: "orange", "warm-up": "grey" };
const ZONES = ["green", "yellow", "orange", "red"];
const MOST_ACTIVE = 2;

export class Monitor {
  #top = h("div");
  #figures = h("dl", { class: "d-figures" });
  #warnings = h("div", { role: "status" });
  #bars = document.createElement("distill-bars");
  #activity = h("section", { class: "d-panel" });
  #codes = h("section", { class: "d-panel" });
  #plateau = h("section", { class: "d-panel" });
  #journal = h("section", { class: "d-panel" });
  #terms = h("section", { class: "d-panel" }, h("h3", {}, "What counts as an error (loss)"), this.#bars);
  element = h("div", { class: "d-live" }, this.#top, this.#figures, this.#warnings, this.#terms,
    h("div", { class: "d-columns" }, h("div", { class: "d-stacked" }, this.#activity, this.#plateau), this.#codes), this.#journal);

  async read(state, tell) {
    const now = await state(null), training = now.training;
    const mode = training?.mode;
    put(this.#top, [now.state, now.stage, now.work, training?.step, training?.eta_seconds, now.expected, mode], () => [
      h("p", { class: "d-headline" }, stateBadge(now.state), h("strong", {}, now.run),
        mode ? h("span", { class: "d-mode" }, "mode ", badge(mode, MODES[mode] ?? "grey")) : null),
      training ? progress(now) : h("p", {}, "The training itself has not begun."),
    ]);
    for (const part of [this.#figures, this.#warnings, this.#terms, this.#activity, this.#codes, this.#plateau, this.#journal]) part.hidden = !training;
    tell([`${now.run}: ${now.state}${mode ? `, mode ${mode}` : ""}`, training?.peak?.warning].filter(Boolean).join(". "));
    if (!training) return;
    const figures = {
      epoch: training.epoch ?? "–", "speed of learning (rate)": short(training.learning_rate), "greatest step (gradient clip)": short(training.gradient_clip),
      speed: training.steps_per_second ? `${short(training.steps_per_second)} steps/s` : "–",
      memory: training.memory_mb ? `${Math.round(training.memory_mb)} MB` : "–", "error on sounds kept aside (held-out loss)": short(training.validation_loss),
      "left of this training": duration(training.eta_seconds),
    };
    put(this.#figures, figures, () => Object.entries(figures).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
    const others = training.warnings.filter((line) => line !== training.peak?.warning);
    put(this.#warnings, others, () => warnings(others));
    this.#bars.bars = [
      { title: "Weights", segments: training.terms.map(({ name, weight, weight_share }) => ({ name, value: weight, share: weight_share })) },
      { title: "Share of the weighted loss", segments: training.terms.map(({ name, value, share }) => ({ name, value, share })) },
    ];
    put(this.#activity, [training.peak], () => [h("h3", {}, "Busiest part (most active block)"), peak(training.peak)]);
    put(this.#codes, [training.levels], () => training.verdict
      ? [h("h3", {}, "Building blocks (codebooks): ", light(training.verdict)), levels(training.levels)]
      : [h("h3", {}, "Building blocks (codebooks)"), h("p", { class: "d-subdued" }, "This part has none of its own.")]);
    put(this.#plateau, [training.plateau], () => [h("h3", {}, "Does it still get better? (plateau)"), plateau(training.plateau)]);
    put(this.#journal, [training.journal], () => [h("h3", {}, "Journal of changes"), journal(training.journal)]);
  }
}

function peak(found) {
  if (!found) return h("p", { class: "d-subdued" }, "Not measured yet.");
  const marker = h("div", { class: "d-marker" });
  marker.style.left = `${100 * Math.min(1, found.value / MOST_ACTIVE)}%`;
  const words = `${found.block}: ${short(found.value)}`;
  return [
    h("p", {}, h("strong", {}, words), h("span", { class: "d-subdued" }, ` mean absolute activation, ${found.zone} zone`)),
    h("div", { class: "d-zones", role: "meter", "aria-label": `activity of ${found.block}`, "aria-valuemin": 0,
      "aria-valuemax": MOST_ACTIVE, "aria-valuenow": found.value, "aria-valuetext": `${short(found.value)}, ${found.zone} zone` },
      ZONES.map((zone) => h("div", { class: `d-zone d-${zone}` })), marker),
    h("p", { class: "d-scale", "aria-hidden": "true" }, ["0", "0.5", "1.0", "1.5", "2.0"].map((text) => h("span", {}, text))),
    found.warning ? h("p", { class: `d-warning${found.value > MOST_ACTIVE ? " d-strong" : ""}` }, found.warning) : null,
  ];
}

function plateau(info) {
  if (!info) return h("p", { class: "d-subdued" }, "Not evaluated yet.");
  const share = Math.min(1, info.counter / info.patience);
  const bar = h("div", { class: "d-meter d-wide", "aria-hidden": "true" }, h("div"));
  bar.firstChild.style.width = percent(share).replace(" ", "");
  const said = info.is_plateau
    ? `A plateau: ${info.acts ? "the controller acts on it." : "nothing is done about it (controller is off)."}`
    : "It still gets better often enough.";
  return [
    h("p", {}, h("strong", {}, `${info.counter} of ${info.patience}`), h("span", { class: "d-subdued" }, " evaluations without enough improvement")),
    bar, h("p", {}, said),
    h("p", { class: "d-subdued" }, `Lowest error on sounds kept aside (held-out loss): ${short(info.best_loss)}; ${percent(info.threshold)} better counts.`),
  ];
}

function journal(entries) {
  if (!entries.length) return h("p", { class: "d-subdued" }, "Nothing was changed so far.");
  const rows = [...entries].reverse().map(({ seq, step, who, change }) => h("tr", {},
    h("td", { class: "d-number" }, String(seq)), h("td", { class: "d-number" }, String(step)), h("td", {}, who),
    h("td", {}, Object.entries(change).map(([name, value]) => `${name} = ${typeof value === "number" ? short(value) : value}`).join(", "))));
  const head = ["no.", "step", "by", "change"].map((name) => h("th", { scope: "col" }, name));
  return h("div", { class: "d-scroll" }, h("table", { class: "d-table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)));
}
