/*
 * <distill-grid>: a grid of codes as a timeline to look at, select in, hear and edit.
 *
 * It shows a view (see `Desk.view` in distill/ui/desk.py) and asks for everything else: `attach(ask)` names the
 * function that takes a request, such as {what: "set", selection, code: 17}. It changes no code by itself.
 */

import { h } from "./dom.js";
import { buildControls } from "./grid/controls.js";
import { handleKey, historyAct } from "./grid/keys.js";
import { Playback } from "./grid/playback.js";
import { selectByPointer } from "./grid/pointer.js";
import { Screen } from "./grid/screen.js";
import { Selection } from "./grid/selection.js";
import { codeAt, describeGrid, describeHistory, describeSelection } from "./grid/words.js";

const SPEAK_AFTER = 200; // ms without a move

const keyOf = ({ column, row }) => `${column},${row}`;

class DistillGrid extends HTMLElement {
  #view = null;
  #ask = () => {};
  #selection = new Selection();
  #playback = new Playback((playing) => this.#showPlaying(playing), () => this.#screen.follow());
  #parts = null;
  #screen = null;
  #speaking = 0;
  #watchers = [];
  // The codes that cells have once the page's server has answered; keys pressed meanwhile go on from them.
  #awaited = new Map();
  // What is asked for one after the other: requests that are under way together may arrive in another order.
  #waiting = [];
  #asked = false;

  connectedCallback() {
    if (!this.#parts) this.#build();
    const size = new ResizeObserver(() => this.#screen.fit());
    size.observe(this.#parts.scroll);
    const theme = new MutationObserver(() => this.#screen.draw());
    theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    document.addEventListener("keydown", this.#historyKey);
    this.#watchers = [size, theme];
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.#historyKey);
    this.#watchers.forEach((watcher) => watcher.disconnect());
    this.#playback.stop();
  }

  /** Name the function to ask for hearing and editing. */
  attach(ask) {
    this.#ask = ask;
  }

  get view() {
    return this.#view;
  }

  /** What is shown; a view with another version also says what to play or save now. */
  set view(view) {
    const before = this.#view;
    this.#view = view;
    if (before === view || before?.grid !== view?.grid) this.#awaited.clear();
    for (const [key, { cell, code }] of this.#awaited) if (codeAt(view, cell) === code) this.#awaited.delete(key);
    this.classList.toggle("empty", !view);
    const another = before?.grid !== view?.grid;
    // The same view once more ends a wait that nothing else ends.
    if (another || before === view) this.#waiting = [];
    if (another || before === view || before.version !== view.version) this.#asked = false;
    this.setAttribute("aria-busy", String(this.#asked));
    if (another) {
      this.#selection.reset();
      this.#playback.stop();
    }
    if (view) {
      this.#selection.keepWithin(view);
      this.#label();
    }
    this.#screen?.show(view, another);
    if (view && before?.version !== view.version) this.#obey(view);
    this.#askNext();
  }

  /** How the sound of the shown grid looks; what was drawn before stays until it is loaded. */
  set outline(outline) {
    if (outline && outline.grid === this.#view?.grid) this.#screen.showSound(outline);
  }

  /** Columns from the first to the one after the last, bands and levels; null: all. */
  get selection() {
    return this.#view && this.#selection.cells(this.#view);
  }

  /** The selection, if the user made one. */
  get chosen() {
    return this.#selection.made ? this.selection : null;
  }

  /** Select from cell to cell, each {column, row} with rows from the top. */
  select(anchor, focus = anchor) {
    this.#selection.set(anchor, focus);
    this.#moved();
  }

  #build() {
    const parts = (this.#parts = buildControls(this, this.hasAttribute("plain")));
    this.#screen = new Screen(this, parts, { selection: this.#selection, playback: this.#playback });
    this.classList.add("empty");
    parts.tools.addEventListener("click", (event) => {
      const act = event.target.closest("button")?.dataset.act;
      if (act === "in" || act === "out") this.#screen.zoomBy(act === "in" ? 1 : -1);
      else if (act) this.#act(act);
    });
    parts.cells.addEventListener("keydown", (event) => this.#key(event));
    selectByPointer(parts, {
      layout: this.#screen.layout,
      selection: this.#selection,
      moved: () => this.#moved(false),
      clicked: () => this.#act("hear"),
    });
    const { number, slider } = parts;
    // An emptied field means no code, and not code 0.
    number.addEventListener("change", () => this.#set(number.value === "" ? NaN : Number(number.value)));
    slider.addEventListener("input", () => (number.value = slider.value));
    slider.addEventListener("change", () => this.#set(Number(slider.value)));
  }

  // -- words

  #label() {
    const { view } = this, { button, cells, number, slider } = this.#parts;
    cells.setAttribute("aria-label", describeGrid(view));
    for (const act of ["undo", "redo"]) {
      const found = button(act);
      if (!found) continue;
      found.disabled = view[act] === null;
      found.title = describeHistory(act, view[act]);
    }
    number.max = slider.max = String(view.size - 1);
    slider.style.setProperty("--codes", `linear-gradient(to right, ${view.palette.join(", ")})`);
    this.#describe();
  }

  #describe() {
    const { where, spoken, number, slider } = this.#parts;
    const code = codeAt(this.#view, this.#selection.focus);
    const words = describeSelection(this.#view, this.selection, code);
    where.textContent = words;
    number.value = slider.value = String(code);
    clearTimeout(this.#speaking);
    this.#speaking = setTimeout(() => (spoken.textContent = words), SPEAK_AFTER);
  }

  // -- selecting

  #moved(reveal = true) {
    if (reveal) this.#screen.layout.reveal(this.#selection.focus.column);
    this.#screen.later();
    this.#describe();
  }

  #key(event) {
    const { view } = this;
    if (!view) return;
    const last = { column: view.columns - 1, row: view.bands * view.levels.length - 1 };
    const handled = handleKey(event, view, {
      move: (by, grow) => {
        this.#selection.move(by, view, grow);
        this.#moved();
      },
      all: () => this.select({ column: 0, row: 0 }, last),
      one: () => this.select(this.#selection.focus),
      act: (act) => this.#act(act),
      step: (by) => this.#set(this.#code() + by),
    });
    if (handled) event.preventDefault();
  }

  #historyKey = (event) => {
    const act = historyAct(event), { target } = event;
    if (!act || !this.#view || this.hasAttribute("plain") || !this.offsetParent) return;
    // Elsewhere these keys undo what was typed, or belong to another grid.
    if (target !== document.body && !(this.contains(target) && target !== this.#parts.number)) return;
    event.preventDefault();
    if (this.#view[act] !== null) this.#act(act);
  };

  // -- asking and playing

  /** The code of the cell with the focus: the one that was asked for last, or else the one that is shown. */
  #code() {
    const { focus } = this.#selection;
    return this.#awaited.get(keyOf(focus))?.code ?? codeAt(this.#view, focus);
  }

  #set(code) {
    if (!this.#view) return;
    if (!Number.isInteger(code) || code < 0 || code >= this.#view.size) return this.#describe();
    const cell = this.#selection.focus;
    this.#awaited.set(keyOf(cell), { cell, code });
    this.#request({ what: "set", code });
  }

  #act(act) {
    if (!this.#view) return;
    if (act !== "play") this.#request({ what: act });
    else if (this.#playback.playing) this.#playback.stop();
    else if (this.#view.sound) this.#play(this.#view.sound);
    else this.#request({ what: "play" });
  }

  #request(request) {
    this.setAttribute("aria-busy", "true");
    if (request.what === "undo" || request.what === "redo") this.#awaited.clear();
    const { selection } = this, last = this.#waiting.at(-1);
    // Of several codes for the same cells the last counts.
    const again = request.what === "set" && last?.what === "set" && JSON.stringify(last.selection) === JSON.stringify(selection);
    if (again) this.#waiting.pop();
    this.#waiting.push({ ...request, selection });
    this.#askNext();
  }

  #askNext() {
    if (this.#asked || !this.#waiting.length) return;
    this.#asked = true;
    this.setAttribute("aria-busy", "true");
    this.#ask(this.#waiting.shift());
  }

  /** Do what a view asks for once: play, hear, save. */
  #obey(view) {
    if (view.clip) this.#playback.hear(view.clip);
    if (view.play && view.sound) this.#play(view.sound);
    if (view.download) {
      const link = h("a", { href: view.download.address, download: view.download.name });
      document.body.append(link);
      link.click();
      link.remove();
    }
  }

  #play(address) {
    const [column] = this.selection.columns;
    this.#playback.play(address, column * this.#view.secondsPerColumn);
    this.#screen.layout.reveal(column);
  }

  #showPlaying(playing) {
    if (!this.#parts) return;
    this.#parts.button("play").textContent = playing ? "Stop" : "Play";
    this.#screen.placeHead();
  }
}

customElements.define("distill-grid", DistillGrid);
