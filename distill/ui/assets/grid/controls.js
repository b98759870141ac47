// The elements that a grid consists of.

import { h } from "../dom.js";
import { HELP } from "./keys.js";

/** Fill the host element; a `plain` grid has nothing that edits. Returns the elements by name. */
export function buildControls(host, plain) {
  const canvas = (name, attributes) => h("canvas", { class: name, ...attributes });
  const ruler = canvas("ruler", { "aria-hidden": "true" }), sound = canvas("sound", { "aria-hidden": "true" });
  const cells = canvas("cells", { tabindex: 0, role: "application", "aria-roledescription": "grid of codes" });
  const head = h("div", { class: "head", "aria-hidden": "true" });
  const pane = h("div", { class: "pane" }, ruler, sound, cells, head);
  const wide = h("div", { class: "wide" }, pane), scroll = h("div", { class: "scroll" }, wide);

  const where = h("output", { class: "where" });
  const spoken = h("span", { class: "spoken", "aria-live": "polite" });
  const code = (type, label) => h("input", { type, min: 0, step: 1, "aria-label": label });
  const number = code("number", "Code of the selected cells"), slider = code("range", "Code, by its colour");
  const foot = h("div", { class: "foot" }, where, spoken,
    !plain && h("label", { class: "code" }, h("span", {}, "Code"), number, slider));

  const tools = toolbar(plain);
  host.append(tools, scroll, foot, ...(plain ? [] : [help()]));
  const button = (act) => tools.querySelector(`[data-act=${act}]`);
  return { tools, button, scroll, wide, pane, ruler, sound, cells, head, where, spoken, number, slider };
}

function toolbar(plain) {
  const button = (act, words, title, label = null) =>
    h("button", { type: "button", "data-act": act, title, "aria-label": label }, words);
  return h("div", { class: "tools", role: "toolbar", "aria-label": "Grid" },
    button("play", "Play", "Play from the selection on (Space)"),
    button("hear", "Hear selection", "Hear the selected cells alone (Enter)"),
    !plain && [button("undo", "Undo", "Nothing to undo"), button("redo", "Redo", "Nothing to redo")],
    h("span", { class: "space" }),
    button("out", "−", "Show more time", "Zoom out"), button("in", "+", "Show less time", "Zoom in"));
}

function help() {
  return h("details", { class: "help" }, h("summary", {}, "Keys"),
    h("dl", {}, HELP.map(([keys, words]) => [h("dt", {}, keys), h("dd", {}, words)])));
}
