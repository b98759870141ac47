// <distill-bars>: stacked bars of 100 %, one below the other, with one legend.
//
// `bars` is a list of {title, segments: [{name, value, share}]}. Each segment can be pointed at or focused, and then
// shows its name, value and per cent; all of it also stands in words behind each bar for those who cannot see it.

import { h, percent, short } from "./dom.js";
import { colourOf, labelOf } from "./terms.js";

const HINT = "Point at a part, or go there with Tab, for its value.";

class Bars extends HTMLElement {
  #bars = new Map();
  #legend = h("ul", { class: "d-legend" });
  #tip = h("output", { class: "d-tip", "aria-hidden": "true" }, HINT);

  connectedCallback() {
    if (!this.#legend.isConnected) this.append(this.#legend, this.#tip);
  }

  /** Show new values; segments stay the same elements, so that what is focused stays focused. */
  set bars(bars) {
    for (const { title, segments } of bars) this.#bar(title).update(segments);
    const names = [...new Set(bars.flatMap((bar) => bar.segments.map((segment) => segment.name)))];
    if (this.#legend.dataset.names === names.join()) return;
    this.#legend.dataset.names = names.join();
    this.#legend.replaceChildren(...names.map((name) => h("li", {}, swatch(name), labelOf(name))));
  }

  #bar(title) {
    if (!this.#bars.has(title)) {
      const bar = new Bar(title, (text) => { this.#tip.textContent = text || HINT; });
      this.insertBefore(bar.element, this.#legend.isConnected ? this.#legend : null);
      this.#bars.set(title, bar);
    }
    return this.#bars.get(title);
  }
}

class Bar {
  #segments = new Map();
  #row = h("div", { class: "d-stack", role: "list" });

  constructor(title, tell) {
    this.tell = tell;
    this.element = h("section", { class: "d-bar", "aria-label": title }, h("h4", {}, title), this.#row);
  }

  update(segments) {
    for (const [name, element] of this.#segments) {
      if (segments.some((segment) => segment.name === name)) continue;
      element.remove();
      this.#segments.delete(name);
    }
    for (const { name, value, share } of segments) {
      const text = `${labelOf(name)}: ${short(value)}, ${percent(share)}`;
      const element = this.#segments.get(name) ?? this.#made(name);
      element.style.flexGrow = String(Math.max(share, 0));
      element.classList.toggle("d-none", !(share > 0));
      element.setAttribute("aria-label", text);
      element.title = text;
      if (element.matches(":hover, :focus")) this.tell(text);
    }
  }

  #made(name) {
    const show = (event) => this.tell(event.currentTarget.getAttribute("aria-label"));
    const hide = () => this.tell("");
    const element = h("div", {
      class: "d-segment", role: "listitem", tabindex: "0", "data-name": name,
      onmouseenter: show, onfocus: show, onmouseleave: hide, onblur: hide,
    });
    element.style.background = colourOf(name);
    this.#segments.set(name, element);
    this.#row.append(element);
    return element;
  }
}

function swatch(name) {
  const element = h("span", { class: "d-swatch", "aria-hidden": "true" });
  element.style.background = colourOf(name);
  return element;
}

customElements.define("distill-bars", Bars);
