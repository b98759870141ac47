// The picture of a grid: its canvases and the line where it plays, redrawn when something changes.

import { bitmapsOf, drawLevels, drawRuler, lookOf, resize, RULER } from "./drawing.js";
import { Layout } from "./layout.js";
import { HEIGHT as SOUND, SoundLine } from "./soundline.js";

export class Screen {
  #host;
  #parts;
  #selection;
  #playback;
  #bitmaps = [];
  #frame = 0;
  #line = new SoundLine(() => this.later());

  constructor(host, parts, { selection, playback }) {
    [this.#host, this.#parts, this.#selection, this.#playback] = [host, parts, selection, playback];
    this.layout = new Layout(parts.scroll);
    parts.scroll.addEventListener("scroll", () => this.later(), { passive: true });
    for (const event of ["focus", "blur"]) parts.cells.addEventListener(event, () => this.draw());
  }

  /** Show a view; if it is of `another` grid, the sound of the one before goes. */
  show(view, another) {
    this.layout.view = view;
    if (!view) return;
    if (another) this.#line.clear();
    this.#bitmaps = bitmapsOf(view);
    this.fit(another);
  }

  /** Show how the sound looks. */
  showSound(outline) {
    this.#line.show(outline);
  }

  /** Update the sizes; `anew` also chooses a zoom at which the grid is seen. */
  fit(anew = false) {
    const { layout } = this, { wide, pane, ruler, sound, cells } = this.#parts, { width } = layout;
    if (!layout.view || !width) return;
    layout.fit(anew);
    wide.style.width = `${layout.whole}px`;
    pane.style.width = `${width}px`;
    resize(ruler, width, RULER);
    resize(sound, width, SOUND);
    resize(cells, width, layout.height);
    this.draw();
  }

  zoomBy(step) {
    if (!this.layout.view) return;
    this.layout.zoomBy(step, () => this.fit());
    this.draw();
  }

  /** Draw with the next frame. */
  later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.draw();
    });
  }

  draw() {
    const { layout } = this, { view } = layout, { ruler, sound, cells } = this.#parts;
    if (!view || !layout.width) return;
    const look = lookOf(this.#host), selected = this.#selection.cells(view);
    drawRuler(ruler, layout, selected.columns, look);
    this.#line.draw(sound, {
      x: layout.x(0),
      width: view.columns * layout.zoom,
      gutter: layout.gutter,
      selected: selected.columns.map((column) => layout.x(column)),
      look,
    });
    const focus = document.activeElement === cells ? this.#selection.focus : null;
    drawLevels(cells, layout, this.#bitmaps, { cells: selected, focus }, look);
    this.placeHead();
  }

  /** Move the line to where it plays; its place in px. */
  placeHead() {
    const { layout } = this, { head } = this.#parts, { seconds } = this.#playback;
    const x = seconds !== null && layout.view ? layout.x(seconds / layout.view.secondsPerColumn) : -1;
    head.hidden = x < layout.gutter - 1;
    head.style.transform = `translateX(${x}px)`;
    return x;
  }

  /** Let the line move on, and turn the page where it leaves it. */
  follow() {
    this.layout.follow(this.placeHead());
  }
}
