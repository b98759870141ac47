/*
 * <distill-grid>: a grid of codes as a timeline that is looked at, selected in, heard and edited.
 *
 * It is given a view (see `Desk.view` in distill/ui/desk.py) and asks for everything else: `attach(ask)` names the
 * function that takes a wish, such as {what: "set", selection, code: 17}. It changes no code by itself.
 */

import { HEIGHT as SOUND, SoundLine } from "./soundline.js";

const ROW = 11; // px of a band
const GAP = 12; // px between levels
const RULER = 24; // px
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300]; // s between ticks
const ZOOMS = [2, 3, 4, 6, 8, 12, 16, 22, 30, 40, 56, 80]; // px of a column
const KEYS = [
  ["Arrows", "go from cell to cell; with Shift the selection grows"],
  ["Page up, Page down", "to the level above or below"],
  ["Home, End", "to the first or last column"],
  ["Enter", "hear the selected cells alone"],
  ["Space", "play from the selection on, or stop"],
  ["+ and −", "the next code, the code before"],
  ["Ctrl+A, Escape", "select everything, one cell"],
  ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"],
];

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

function made(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Seconds as words: 1.37 s, 1:05.2. */
export function clock(seconds, digits = 2) {
  if (seconds < 60) return `${seconds.toFixed(digits)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

/** The smallest step between ticks that leaves room for their words. */
export function tick(secondsPerPixel, room = 64) {
  return STEPS.find((step) => step / secondsPerPixel >= room) ?? STEPS[STEPS.length - 1];
}

/**
 * The cells between two corners. Within one level they are bands of it; over several levels, all bands of these.
 * What covers all levels names none, so that frozen ones are left out.
 */
export function selected(anchor, focus, { bands, levels }) {
  const columns = [Math.min(anchor.column, focus.column), Math.max(anchor.column, focus.column) + 1];
  const [top, bottom] = [Math.min(anchor.row, focus.row), Math.max(anchor.row, focus.row)];
  const [first, last] = [Math.floor(top / bands), Math.floor(bottom / bands)];
  if (first !== last) {
    const all = last - first + 1 === levels;
    return { columns, bands: null, levels: all ? null : range(first, last) };
  }
  // The highest band stands on top.
  const found = range(bands - 1 - (bottom % bands), bands - 1 - (top % bands));
  return { columns, bands: found.length === bands ? null : found, levels: [first] };
}

function range(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

class DistillGrid extends HTMLElement {
  #view = null;
  #ask = () => {};
  #anchor = { column: 0, row: 0 };
  #focus = { column: 0, row: 0 };
  #zoom = 16;
  #bitmaps = [];
  #drag = null;
  #chosen = false;
  #audio = null;
  #clip = null;
  #parts = null;
  #frame = 0;
  #watchers = [];
  #line = new SoundLine(() => this.#later());

  connectedCallback() {
    if (!this.#parts) this.#build();
    const redraw = () => this.#draw();
    const resize = new ResizeObserver(() => this.#fit());
    resize.observe(this.#parts.scroll);
    const theme = new MutationObserver(redraw);
    theme.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    document.addEventListener("keydown", this.#undoKey);
    this.#watchers = [resize, theme];
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.#undoKey);
    this.#watchers.forEach((watcher) => watcher.disconnect());
    this.#stop();
  }

  /** Say whom to ask for hearing and editing. */
  attach(ask) {
    this.#ask = ask;
  }

  get view() {
    return this.#view;
  }

  /** What is shown; a view with another version also says what is heard or saved now. */
  set view(view) {
    const before = this.#view;
    this.#view = view;
    this.classList.toggle("empty", !view);
    this.setAttribute("aria-busy", "false");
    if (!view) return;
    const other = !before || before.grid !== view.grid;
    if (other) {
      this.#anchor = { column: 0, row: 0 };
      this.#focus = { ...this.#anchor };
      this.#chosen = false;
      this.#line.clear();
      this.#stop();
    }
    const last = { column: view.columns - 1, row: view.bands * view.levels.length - 1 };
    for (const corner of [this.#anchor, this.#focus]) {
      corner.column = clamp(corner.column, 0, last.column);
      corner.row = clamp(corner.row, 0, last.row);
    }
    this.#paint();
    this.#label();
    this.#fit(other);
    if (before?.version !== view.version) this.#obey(view);
  }

  /** How the sound looks, for the grid that is shown; what was drawn before stays until it is there. */
  set outline(outline) {
    if (outline && outline.grid === this.#view?.grid) this.#line.show(outline);
  }

  /** Columns from the first to the one after the last, bands and levels; null: all. */
  get selection() {
    const view = this.#view;
    return view && selected(this.#anchor, this.#focus, { bands: view.bands, levels: view.levels.length });
  }

  /** The selection, if somebody made one. */
  get chosen() {
    return this.#chosen ? this.selection : null;
  }

  /** Select from cell to cell, each {column, row} with rows from the top. */
  select(anchor, focus = anchor) {
    this.#anchor = { ...anchor };
    this.#focus = { ...focus };
    this.#chosen = true;
    this.#moved();
  }

  // -- what it is made of

  #build() {
    const button = (act, words, title) => made("button", { type: "button", "data-act": act, title }, words);
    const plain = this.hasAttribute("plain");
    const tools = made("div", { class: "tools", role: "toolbar", "aria-label": "Grid" });
    tools.append(button("play", "Play", "Play from the selection on (Space)"));
    tools.append(button("hear", "Hear selection", "Hear the selected cells alone (Enter)"));
    if (!plain) {
      tools.append(button("undo", "Undo", "Nothing to undo"), button("redo", "Redo", "Nothing to redo"));
    }
    tools.append(made("span", { class: "space" }));
    tools.append(button("out", "−", "Show more time"), button("in", "+", "Show less time"));
    tools.querySelector("[data-act=out]").setAttribute("aria-label", "Zoom out");
    tools.querySelector("[data-act=in]").setAttribute("aria-label", "Zoom in");

    const ruler = made("canvas", { class: "ruler", "aria-hidden": "true" });
    const sound = made("canvas", { class: "sound", "aria-hidden": "true" });
    const cells = made("canvas", {
      class: "cells",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "grid of codes",
    });
    const head = made("div", { class: "head", "aria-hidden": "true" });
    const pane = made("div", { class: "pane" }, ruler, sound, cells, head);
    const wide = made("div", { class: "wide" }, pane);
    const scroll = made("div", { class: "scroll" }, wide);

    const where = made("output", { class: "where" });
    const spoken = made("span", { class: "spoken", "aria-live": "polite" });
    const number = made("input", { type: "number", min: "0", step: "1", "aria-label": "Code of the selected cells" });
    const slider = made("input", { type: "range", min: "0", step: "1", "aria-label": "Code, by its colour" });
    const foot = made("div", { class: "foot" }, where, spoken);
    if (!plain) foot.append(made("label", { class: "code" }, made("span", {}, "Code"), number, slider));

    const list = made("dl");
    for (const [keys, words] of KEYS) list.append(made("dt", {}, keys), made("dd", {}, words));
    const help = made("details", { class: "help" }, made("summary", {}, "Keys"), list);
    this.append(tools, scroll, foot, ...(plain ? [] : [help]));
    this.classList.add("empty");
    this.#parts = { tools, scroll, wide, pane, ruler, sound, cells, head, where, spoken, number, slider };

    tools.addEventListener("click", (event) => {
      const act = event.target.closest("button")?.dataset.act;
      if (act === "in" || act === "out") this.#zoomBy(act === "in" ? 1 : -1);
      else if (act) this.#act(act);
    });
    scroll.addEventListener("scroll", () => this.#later(), { passive: true });
    cells.addEventListener("keydown", (event) => this.#key(event));
    cells.addEventListener("focus", () => this.#draw());
    cells.addEventListener("blur", () => this.#draw());
    for (const canvas of [cells, ruler, sound]) {
      canvas.addEventListener("pointerdown", (event) => this.#down(event, canvas));
      canvas.addEventListener("pointermove", (event) => this.#move(event, canvas));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.#up(event));
    }
    number.addEventListener("change", () => this.#set(Number(number.value)));
    slider.addEventListener("input", () => (number.value = slider.value));
    slider.addEventListener("change", () => this.#set(Number(slider.value)));
  }

  #label() {
    const { view } = this, { tools, cells, number, slider } = this.#parts;
    cells.setAttribute(
      "aria-label",
      `${view.name}: ${view.columns} columns, ${clock(view.seconds)}, levels ${view.levels.join(", ")} of ` +
        `${view.bands} bands, codes 0 to ${view.size - 1}. Arrow keys move, Enter plays the cell.`,
    );
    for (const [act, words] of Object.entries({ undo: view.undo, redo: view.redo })) {
      const button = tools.querySelector(`[data-act=${act}]`);
      if (!button) continue;
      button.disabled = words === null;
      button.title = words === null ? `Nothing to ${act}` : `${act === "undo" ? "Undo" : "Redo"}: ${words}`;
    }
    number.max = slider.max = String(view.size - 1);
    slider.style.setProperty("--codes", `linear-gradient(to right, ${view.palette.join(", ")})`);
    this.#say();
  }

  /** One picture a level, a pixel a cell: drawing at any zoom is a stretch of it. */
  #paint() {
    const { columns, bands, levels, codes, palette } = this.#view;
    const colours = palette.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
    this.#bitmaps = levels.map((_, level) => {
      const bitmap = made("canvas");
      [bitmap.width, bitmap.height] = [columns, bands];
      const context = bitmap.getContext("2d");
      const image = context.createImageData(columns, bands);
      for (let column = 0; column < columns; column++) {
        for (let band = 0; band < bands; band++) {
          const colour = colours[codes[(column * bands + band) * levels.length + level]];
          image.data.set([...colour, 255], 4 * ((bands - 1 - band) * columns + column));
        }
      }
      context.putImageData(image, 0, 0);
      return bitmap;
    });
  }

  // -- drawing

  get #gutter() {
    return this.#parts.scroll.clientWidth < 480 ? 78 : 96;
  }

  get #height() {
    return this.#view.levels.length * (this.#view.bands * ROW + GAP);
  }

  /** Bring sizes up to date; `whole` also chooses a zoom at which the grid is seen. */
  #fit(whole = false) {
    const { scroll, wide, pane, ruler, sound, cells } = this.#parts;
    const width = scroll.clientWidth;
    if (!this.#view || !width) return;
    if (whole || !this.fitted) {
      const room = (width - this.#gutter - 8) / this.#view.columns;
      this.#zoom = ZOOMS.findLast((zoom) => zoom <= Math.max(room, 6)) ?? 6;
      this.fitted = true;
    }
    wide.style.width = `${Math.max(width, this.#gutter + this.#view.columns * this.#zoom + 8)}px`;
    pane.style.width = `${width}px`;
    const scale = window.devicePixelRatio || 1;
    for (const [canvas, height] of [[ruler, RULER], [sound, SOUND], [cells, this.#height]]) {
      canvas.style.height = `${height}px`;
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
    }
    this.#draw();
  }

  #later() {
    if (!this.#frame) {
      this.#frame = requestAnimationFrame(() => {
        this.#frame = 0;
        this.#draw();
      });
    }
  }

  #x(column) {
    return this.#gutter + column * this.#zoom - this.#parts.scroll.scrollLeft;
  }

  #draw() {
    if (!this.#view || !this.#parts.scroll.clientWidth) return;
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(name).trim();
    const look = {
      text: colour("--body-text-color"),
      quiet: colour("--body-text-color-subdued"),
      back: colour("--block-background-fill"),
      line: colour("--border-color-primary"),
      accent: colour("--grid-accent"),
      font: style.fontFamily,
    };
    this.#drawRuler(look);
    this.#line.draw(this.#parts.sound, {
      x: this.#x(0),
      width: this.#view.columns * this.#zoom,
      gutter: this.#gutter,
      selected: this.selection.columns.map((column) => this.#x(column)),
      look,
    });
    this.#drawCells(look);
    this.#placeHead();
  }

  #drawRuler(look) {
    const { ruler } = this.#parts, { view } = this;
    const context = ruler.getContext("2d");
    const width = ruler.clientWidth, gutter = this.#gutter;
    context.clearRect(0, 0, width, RULER);
    context.font = `11px ${look.font}`;
    context.textBaseline = "middle";
    const perPixel = view.secondsPerColumn / this.#zoom;
    const step = tick(perPixel);
    const begin = Math.max(0, (gutter - this.#x(0)) * perPixel);
    context.fillStyle = look.quiet;
    context.strokeStyle = look.line;
    context.textAlign = "left";
    for (let index = Math.floor(begin / step); ; index++) {
      const seconds = index * step;
      const x = this.#x(seconds / view.secondsPerColumn);
      if (x > width || seconds > view.columns * view.secondsPerColumn) break;
      if (x < gutter - 1) continue;
      context.fillRect(Math.round(x), RULER - 7, 1, 7);
      context.fillText(clock(seconds, step < 1 ? 1 : 0), x + 4, RULER / 2 - 2);
    }
    const { columns } = this.selection;
    context.fillStyle = look.accent;
    const left = Math.max(gutter, this.#x(columns[0]));
    context.fillRect(left, RULER - 3, Math.max(0, this.#x(columns[1]) - left), 3);
    context.clearRect(0, 0, gutter - 1, RULER);
    context.fillStyle = look.quiet;
    context.textAlign = "right";
    context.fillText("time", gutter - 10, RULER / 2 - 2);
  }

  #drawCells(look) {
    const { cells, scroll } = this.#parts, { view } = this;
    const context = cells.getContext("2d");
    const width = cells.clientWidth, gutter = this.#gutter, zoom = this.#zoom;
    context.clearRect(0, 0, width, this.#height);
    context.imageSmoothingEnabled = false;
    const first = Math.floor(scroll.scrollLeft / zoom);
    const last = Math.min(view.columns, Math.ceil((scroll.scrollLeft + width - gutter) / zoom));
    const tall = view.bands * ROW;
    context.save();
    context.beginPath();
    context.rect(gutter, 0, width - gutter, this.#height);
    context.clip();
    view.levels.forEach((_, level) => {
      const y = level * (tall + GAP);
      context.globalAlpha = view.frozen.includes(level) ? 0.45 : 1;
      context.drawImage(
        this.#bitmaps[level], first, 0, last - first, view.bands, this.#x(first), y, (last - first) * zoom, tall,
      );
      context.globalAlpha = 1;
      if (zoom >= 8) {
        context.fillStyle = look.back;
        context.globalAlpha = 0.55;
        for (let column = first; column <= last; column++) context.fillRect(this.#x(column) - 0.5, y, 1, tall);
        for (let band = 1; band < view.bands; band++) {
          context.fillRect(this.#x(first), y + band * ROW - 0.5, (last - first) * zoom, 1);
        }
        context.globalAlpha = 1;
      }
    });
    this.#drawSelection(context, look);
    context.restore();
    this.#drawLabels(context, look);
  }

  #drawSelection(context, look) {
    const { columns, bands, levels } = this.selection, { view } = this;
    const tall = view.bands * ROW;
    const box = (x, y, width, height, inner) => {
      context.lineWidth = inner ? 1 : 3;
      context.strokeStyle = inner ? look.accent : "#000000cc";
      context.strokeRect(x, y, width, height);
      context.lineWidth = inner ? 1 : 1.5;
      context.strokeStyle = "#ffffff";
      context.strokeRect(x, y, width, height);
    };
    const [x, width] = [this.#x(columns[0]), (columns[1] - columns[0]) * this.#zoom];
    view.levels.forEach((_, level) => {
      if (levels ? !levels.includes(level) : view.frozen.includes(level)) return;
      const [low, high] = bands ? [bands[0], bands[bands.length - 1]] : [0, view.bands - 1];
      const y = level * (tall + GAP) + (view.bands - 1 - high) * ROW;
      box(x, y, width, (high - low + 1) * ROW, false);
    });
    if (document.activeElement === this.#parts.cells) {
      const level = Math.floor(this.#focus.row / view.bands);
      context.lineWidth = 2;
      context.strokeStyle = look.accent;
      const y = level * (tall + GAP) + (this.#focus.row % view.bands) * ROW;
      context.strokeRect(this.#x(this.#focus.column) - 1, y - 1, this.#zoom + 2, ROW + 2);
    }
  }

  #drawLabels(context, look) {
    const { view } = this, gutter = this.#gutter, tall = view.bands * ROW;
    context.textBaseline = "middle";
    context.textAlign = "right";
    view.levels.forEach((label, level) => {
      const y = level * (tall + GAP);
      context.font = `600 12px ${look.font}`;
      context.fillStyle = look.text;
      context.fillText(short(label, gutter < 80 ? 10 : 14), gutter - 10, y + 8);
      context.font = `10.5px ${look.font}`;
      context.fillStyle = look.quiet;
      if (view.frozen.includes(level)) context.fillText("frozen", gutter - 10, y + 24);
      else context.fillText(hertz(view.bandsHz[view.bands - 1][1]), gutter - 10, y + 24);
      context.fillText(hertz(view.bandsHz[Math.floor(view.bands / 2)][0]), gutter - 10, y + tall / 2 + 6);
      context.fillText(hertz(view.bandsHz[0][0]), gutter - 10, y + tall - 5);
    });
  }

  // -- words

  #code(column, row) {
    const { view } = this;
    const level = Math.floor(row / view.bands), band = view.bands - 1 - (row % view.bands);
    return view.codes[(column * view.bands + band) * view.levels.length + level];
  }

  #say() {
    const { view } = this, { where, spoken, number, slider } = this.#parts;
    const { columns, bands, levels } = this.selection;
    const count = columns[1] - columns[0];
    const at = columns[0] * view.secondsPerColumn;
    const names = (levels ?? range(0, view.levels.length - 1)).map((level) => view.levels[level]).join(", ");
    const code = this.#code(this.#focus.column, this.#focus.row);
    let words;
    if (count === 1 && levels?.length === 1 && bands?.length === 1) {
      const [low, high] = view.bandsHz[bands[0]];
      words = `${names}, ${hertz(low)} to ${hertz(high)}, ${clock(at)}: code ${code}`;
    } else {
      const rows = bands ? `${bands.length} of ${view.bands} bands` : "all bands";
      words = `${names}, ${rows}, ${clock(at)} to ${clock(columns[1] * view.secondsPerColumn)} (${count} columns)`;
    }
    where.textContent = words;
    number.value = slider.value = String(code);
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => (spoken.textContent = words), 200);
  }

  // -- selecting

  #cell(event) {
    const { view } = this, { cells } = this.#parts;
    const box = cells.getBoundingClientRect(), tall = view.bands * ROW + GAP;
    const column = clamp(Math.floor((event.clientX - box.left - this.#x(0)) / this.#zoom), 0, view.columns - 1);
    const y = clamp(event.clientY - box.top, 0, this.#height - 1);
    const level = Math.floor(y / tall);
    return { column, row: level * view.bands + clamp(Math.floor((y - level * tall) / ROW), 0, view.bands - 1) };
  }

  #down(event, canvas) {
    if (!this.#view || event.button) return;
    const { cells } = this.#parts;
    const ends = { top: 0, bottom: this.#view.bands * this.#view.levels.length - 1 };
    const at = this.#cell(event);
    const label = event.clientX - cells.getBoundingClientRect().left < this.#gutter;
    const time = canvas !== cells;
    // A finger on the time scrolls.
    if (time && event.pointerType === "touch") return;
    cells.focus({ preventScroll: true });
    event.preventDefault();
    this.#drag = time ? "columns" : label ? "level" : "cells";
    if (this.#drag === "level") {
      const first = at.row - (at.row % this.#view.bands);
      this.#anchor = { column: 0, row: first };
      this.#focus = { column: this.#view.columns - 1, row: first + this.#view.bands - 1 };
    } else if (this.#drag === "columns") {
      this.#anchor = { column: at.column, row: ends.top };
      this.#focus = { column: at.column, row: ends.bottom };
    } else {
      if (!event.shiftKey) this.#anchor = { ...at };
      this.#focus = { ...at };
    }
    this.#chosen = true;
    canvas.setPointerCapture(event.pointerId);
    this.#moved(false);
  }

  #move(event) {
    if (!this.#drag || this.#drag === "level") return;
    const at = this.#cell(event), { scroll } = this.#parts;
    this.#focus.column = at.column;
    if (this.#drag === "cells") this.#focus.row = at.row;
    const x = event.clientX - scroll.getBoundingClientRect().left;
    if (x > scroll.clientWidth - 12) scroll.scrollLeft += this.#zoom;
    else if (x < this.#gutter + 12) scroll.scrollLeft -= this.#zoom;
    this.#moved(false);
  }

  #up(event) {
    if (!this.#drag) return;
    const cell = this.#drag === "cells" && event.type === "pointerup";
    this.#drag = null;
    const { column, row } = this.#anchor;
    if (cell && column === this.#focus.column && row === this.#focus.row) this.#act("hear");
  }

  #reveal(column) {
    const { scroll } = this.#parts;
    const x = this.#x(column);
    if (x < this.#gutter) scroll.scrollLeft -= this.#gutter - x + 2 * this.#zoom;
    else if (x + this.#zoom > scroll.clientWidth) scroll.scrollLeft += x + 3 * this.#zoom - scroll.clientWidth;
  }

  #moved(follow = true) {
    if (follow) this.#reveal(this.#focus.column);
    this.#later();
    this.#say();
  }

  #key(event) {
    const { view } = this;
    if (!view || event.altKey) return;
    const rows = view.bands * view.levels.length;
    const control = event.ctrlKey || event.metaKey;
    const by = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
      PageUp: [0, -view.bands], PageDown: [0, view.bands], Home: [-view.columns, 0], End: [view.columns, 0],
    }[event.key];
    if (by && !control) {
      this.#focus = {
        column: clamp(this.#focus.column + by[0], 0, view.columns - 1),
        row: clamp(this.#focus.row + by[1], 0, rows - 1),
      };
      if (!event.shiftKey) this.#anchor = { ...this.#focus };
      this.#chosen = true;
      this.#moved();
    } else if (control && event.key.toLowerCase() === "a") {
      this.select({ column: 0, row: 0 }, { column: view.columns - 1, row: rows - 1 });
    } else if (control) return;
    else if (event.key === "Escape") this.select(this.#focus);
    else if (event.key === "Enter") this.#act("hear");
    else if (event.key === " ") this.#act("play");
    else if (event.key === "+" || event.key === "-") {
      this.#set(this.#code(this.#focus.column, this.#focus.row) + (event.key === "+" ? 1 : -1));
    } else return;
    event.preventDefault();
  }

  #undoKey = (event) => {
    const { view } = this, target = event.target;
    if (!view || !(event.ctrlKey || event.metaKey) || event.altKey || this.hasAttribute("plain")) return;
    // Elsewhere these keys undo what was typed, or belong to another grid.
    if (target !== document.body && !(this.contains(target) && target !== this.#parts.number)) return;
    if (!this.offsetParent) return;
    const key = event.key.toLowerCase();
    const act = key === "y" || (key === "z" && event.shiftKey) ? "redo" : key === "z" ? "undo" : null;
    if (!act) return;
    event.preventDefault();
    if (view[act] !== null) this.#act(act);
  };

  #zoomBy(step) {
    if (!this.#view) return;
    const { scroll } = this.#parts;
    const middle = (scroll.scrollLeft + (scroll.clientWidth - this.#gutter) / 2) / this.#zoom;
    const index = ZOOMS.indexOf(this.#zoom);
    this.#zoom = ZOOMS[clamp(index + step, 0, ZOOMS.length - 1)];
    this.#fit();
    scroll.scrollLeft = middle * this.#zoom - (scroll.clientWidth - this.#gutter) / 2;
    this.#draw();
  }

  // -- asking

  #set(code) {
    if (!this.#view || !Number.isInteger(code) || code < 0 || code >= this.#view.size) return this.#say();
    this.#wish({ what: "set", code });
  }

  #act(act) {
    if (!this.#view) return;
    if (act === "play") {
      if (this.#audio && !this.#audio.paused) this.#stop();
      else if (this.#view.sound) this.#play(this.#view.sound);
      else this.#wish({ what: "play" });
    } else {
      this.#wish({ what: act });
    }
  }

  #wish(wish) {
    this.setAttribute("aria-busy", "true");
    this.#ask({ ...wish, selection: this.selection });
  }

  /** Do what a view says once: play, hear, save. */
  #obey(view) {
    if (view.clip) {
      this.#stop();
      this.#clip = new Audio(view.clip);
      this.#clip.play().catch(() => {});
    }
    if (view.play && view.sound) this.#play(view.sound);
    if (view.download) {
      const link = made("a", { href: view.download.address, download: view.download.name });
      document.body.append(link);
      link.click();
      link.remove();
    }
  }

  // -- playing

  #play(address) {
    this.#stop();
    const audio = (this.#audio = new Audio(address));
    audio.currentTime = this.selection.columns[0] * this.#view.secondsPerColumn;
    audio.addEventListener("ended", () => this.#stop());
    audio.play().then(() => this.#follow(), () => this.#stop());
    this.#reveal(this.selection.columns[0]);
    const button = this.#parts.tools.querySelector("[data-act=play]");
    button.textContent = "Stop";
    this.dataset.playing = "true";
  }

  #stop() {
    this.#clip?.pause();
    this.#audio?.pause();
    this.#audio = null;
    if (!this.#parts) return;
    this.#parts.tools.querySelector("[data-act=play]").textContent = "Play";
    delete this.dataset.playing;
    this.#placeHead();
  }

  #follow() {
    const { scroll } = this.#parts;
    const step = () => {
      if (!this.#audio || this.#audio.paused) return;
      const x = this.#placeHead();
      if (x > scroll.clientWidth - 24) scroll.scrollLeft += scroll.clientWidth - this.#gutter - 48;
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  #placeHead() {
    const { head } = this.#parts;
    const x = this.#audio && this.#view ? this.#x(this.#audio.currentTime / this.#view.secondsPerColumn) : -1;
    head.hidden = x < this.#gutter - 1;
    head.style.transform = `translateX(${x}px)`;
    return x;
  }
}

function hertz(value) {
  return value >= 1000 ? `${Number((value / 1000).toPrecision(2))} kHz` : `${Math.round(value)} Hz`;
}

function short(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

customElements.define("distill-grid", DistillGrid);
