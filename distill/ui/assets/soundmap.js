// <distill-map>: sounds as points that lie where they are alike: heard by the pointer or a tap, which also chooses them.
//
// It reads `/api/map` when it is told to. `attach` names what is chosen, and the functions that choose and complain.

import { h } from "./dom.js";
import { hear } from "./sounds.js";

const AXES = {
  likeness: "Likeness", likeness_2: "Likeness 2", length: "Length", attack: "Attack", bright: "Brightness",
  noisy: "Noise", low: "Bass", pitch: "Pitch",
};
// Of a point in rem; of the field in per cent.
const SIZE = 1.1, MARGIN = 3;
const HINT = "Each point is a sound: rings are your own, the others were generated. The pointer plays them, or a tap, which also chooses a generated one; so does S.";

class SoundMap extends HTMLElement {
  #takes = { chosen: () => new Set(), choose: () => {}, trouble: () => {} };
  #points = [];
  #field = h("div", { class: "d-map-field", role: "group", "aria-label": "Map of sounds" });
  #across = this.#axis("Across", "likeness");
  #up = this.#axis("Up", "likeness_2");

  attach(takes) { this.#takes = takes; }

  connectedCallback() {
    if (!this.firstChild) {
      this.append(h("div", { class: "d-takes-bar" }, this.#across.label, this.#up.label), this.#field, h("p", { class: "d-hint" }, HINT));
      // One point alone is reached by the key Tab, and the arrows go on from there.
      this.#field.addEventListener("focusin", (event) => {
        for (const point of this.#field.querySelectorAll("[tabindex='0']")) point.tabIndex = -1;
        event.target.tabIndex = 0;
      });
    }
  }

  /** Fetch the points anew. */
  async read() {
    this.#field.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch("/api/map", { cache: "no-store" });
      const found = await answer.json();
      if (!answer.ok) throw Object.assign(new Error("refused"), { line: found.error });
      this.#points = found.points;
      this.#draw();
    } catch (error) {
      this.#takes.trouble(error.line ?? "The page's server does not answer.");
    } finally {
      this.#field.removeAttribute("aria-busy");
    }
  }

  /** Show which points are chosen. */
  mark() {
    const chosen = this.#takes.chosen();
    for (const point of this.#field.children) {
      if (point.dataset.id) point.setAttribute("aria-pressed", String(chosen.has(point.dataset.id)));
    }
  }

  #axis(name, value) {
    const select = h("select", { class: "d-field", "aria-label": name, onchange: () => this.#draw() },
      Object.entries(AXES).map(([key, words]) => h("option", { value: key, selected: key === value }, words)));
    return { select, label: h("label", { class: "d-check-line" }, name, select) };
  }

  #draw() {
    const across = this.#across.select.value, up = this.#up.select.value;
    const placed = this.#points.filter(({ places }) => places[across] !== null && places[up] !== null);
    const taken = new Map();
    this.#field.replaceChildren(...placed.map((point) => {
      const choose = () => { if (point.id) this.#takes.choose(point); };
      const button = h("button", {
        type: "button", class: `d-sound d-point d-${point.kind}`, title: point.name, "data-id": point.id, "data-src": point.sound,
        "data-file": point.file, "aria-label": `${point.name}, ${point.kind === "yours" ? "your own" : "generated"}`, draggable: "true",
        "aria-pressed": point.id ? "false" : null, tabindex: -1, onclick: () => { hear(button); choose(); },
        onkeydown: (event) => { if (event.key === "s") choose(); } });
      // Points that would hide each other lie around one place.
      const cell = `${Math.round(50 * point.places[across])},${Math.round(30 * point.places[up])}`;
      const before = taken.get(cell) ?? 0;
      taken.set(cell, before + 1);
      const away = SIZE * Math.sqrt(before), turn = 2.4 * before;
      button.style.left = within(point.places[across], away * Math.cos(turn));
      button.style.bottom = within(point.places[up], away * Math.sin(turn));
      return button;
    }));
    if (placed.length) this.#field.firstChild.tabIndex = 0;
    else this.#field.replaceChildren(h("p", { class: "d-hint" }, "No sounds yet."));
    this.mark();
  }
}

/** Where a point is that lies so many rem beside its place, but never beside the field. */
const within = (place, away) => `clamp(0%, ${MARGIN + (100 - 2 * MARGIN) * place}% + ${away}rem, 100%)`;

customElements.define("distill-map", SoundMap);
