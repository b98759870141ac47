// The parts that several views of a training show.

import { duration, h, percent, short } from "./dom.js";

const STATES = { running: "running", paused: "paused", finished: "finished", stopped: "stopped" };

/** The title of the stage at which a run is. */
export const titleOf = ({ stage, stages }) => stages.find(({ name }) => name === stage)?.title ?? stage ?? "starting";

/** A word on coloured ground. */
export const badge = (word, colour) => h("span", { class: `d-badge d-${colour}` }, word);

/** The state of a run as a badge. */
export function stateBadge(state) {
  const colour = { running: "green", paused: "orange", finished: "blue", stopped: "grey" }[state] ?? "grey";
  return badge(STATES[state] ?? state, colour);
}

/** A light and its words; the words say what the colour says. */
export const light = (verdict) => h("span", { class: "d-verdict" },
  h("span", { class: `d-light d-${verdict.light}`, role: "img", "aria-label": verdict.light }), verdict.words);

/** How far the present stage is. */
export function progress(state) {
  const training = state.training?.running ? state.training : null;
  const done = training?.step ?? state.work?.done, total = training?.total_steps ?? state.work?.total;
  if (!total || state.state === "finished") return [];
  const share = Math.min(1, done / total), unit = training ? "steps" : state.work.unit ?? "";
  // Before a run is planned only the present part is known.
  const left = state.expected ? `; about ${duration(state.expected.left)} left in all`
    : training?.eta_seconds != null ? `; about ${duration(training.eta_seconds)} left of this part` : "";
  const words = `${done} of ${total} ${unit}${left}`;
  const bar = h("div", { class: "d-progress", role: "progressbar", "aria-label": titleOf(state),
    "aria-valuemin": 0, "aria-valuemax": total, "aria-valuenow": done, "aria-valuetext": words }, h("div"));
  bar.firstChild.style.width = `${100 * share}%`;
  return [bar, h("p", { class: "d-subdued" }, `${titleOf(state)}: ${words}`)];
}

/** The levels' codebooks as a table with lights. */
export function levels(rows) {
  const cells = rows.map((row) => h("tr", {},
    h("th", { scope: "row" }, row.label),
    h("td", {}, meter(row.utilization)),
    h("td", { class: "d-number" }, short(row.perplexity)),
    h("td", { class: "d-number" }, String(row.dead_codes)),
    h("td", {}, light(row))));
  const head = ["level", "codes used", "as if evenly (perplexity)", "never used (dead)", "health"].map((name) => h("th", { scope: "col" }, name));
  return h("div", { class: "d-scroll" },
    h("table", { class: "d-table" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, cells)));
}

function meter(share) {
  const bar = h("div", { class: "d-meter", "aria-hidden": "true" }, h("div"));
  bar.firstChild.style.width = `${100 * (share ?? 0)}%`;
  return h("div", { class: "d-metered" }, bar, share === null ? "–" : percent(share));
}

/** Sentences that deserve attention. */
export const warnings = (lines) => lines.map((line) => h("p", { class: "d-warning" }, line));
