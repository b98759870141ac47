// Where the columns, bands and levels of a grid lie on the screen, at the present zoom and scroll position.

const ROW = 11; // px of a band
const GAP = 12; // px between levels
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300]; // s between ticks
const ZOOMS = [2, 3, 4, 6, 8, 12, 16, 22, 30, 40, 56, 80]; // px of a column
const MARGIN = 8; // px right of the last column

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most);

/** The smallest step between ticks that leaves room for their labels. */
export function tick(secondsPerPixel, room = 64) {
  return STEPS.find((step) => step / secondsPerPixel >= room) ?? STEPS[STEPS.length - 1];
}

export class Layout {
  view = null;
  zoom = 16;
  row = ROW;
  #scroll;
  #fitted = false;

  constructor(scroll) {
    this.#scroll = scroll;
  }

  /** The width of the visible part, and that of the whole timeline. */
  get width() {
    return this.#scroll.clientWidth;
  }

  get whole() {
    return Math.max(this.width, this.gutter + this.view.columns * this.zoom + MARGIN);
  }

  /** The width of the labels left of the cells. */
  get gutter() {
    return this.width < 480 ? 78 : 96;
  }

  /** The height of a level's cells, and that of all levels. */
  get tall() {
    return this.view.bands * ROW;
  }

  get height() {
    return this.view.levels.length * (this.tall + GAP);
  }

  get secondsPerPixel() {
    return this.view.secondsPerColumn / this.zoom;
  }

  x(column) {
    return this.gutter + column * this.zoom - this.#scroll.scrollLeft;
  }

  /** The top of a level, and that of a row, both counted from the top of the grid. */
  top(level) {
    return level * (this.tall + GAP);
  }

  rowTop(row) {
    return this.top(Math.floor(row / this.view.bands)) + (row % this.view.bands) * ROW;
  }

  /** The first visible column, and the one after the last. */
  get visible() {
    const left = this.#scroll.scrollLeft;
    const last = Math.ceil((left + this.width - this.gutter) / this.zoom);
    return [Math.floor(left / this.zoom), Math.min(this.view.columns, last)];
  }

  /** The cell nearest to a point of the canvas of cells. */
  cell(x, y) {
    const column = clamp(Math.floor((x - this.x(0)) / this.zoom), 0, this.view.columns - 1);
    const inside = clamp(y, 0, this.height - 1), level = Math.floor(inside / (this.tall + GAP));
    const row = clamp(Math.floor((inside - this.top(level)) / ROW), 0, this.view.bands - 1);
    return { column, row: level * this.view.bands + row };
  }

  /** Choose a zoom at which the grid is seen, the first time or if it is `anew`. */
  fit(anew) {
    if (this.#fitted && !anew) return;
    const room = (this.width - this.gutter - MARGIN) / this.view.columns;
    this.zoom = ZOOMS.findLast((zoom) => zoom <= Math.max(room, 6)) ?? 6;
    this.#fitted = true;
  }

  /** Zoom in or out by a step; `resize` runs before the middle is scrolled back to where it was. */
  zoomBy(step, resize) {
    const half = (this.width - this.gutter) / 2;
    const middle = (this.#scroll.scrollLeft + half) / this.zoom;
    this.zoom = ZOOMS[clamp(ZOOMS.indexOf(this.zoom) + step, 0, ZOOMS.length - 1)];
    resize();
    this.#scroll.scrollLeft = middle * this.zoom - half;
  }

  /** Scroll so that a column is visible. */
  reveal(column) {
    const x = this.x(column);
    if (x < this.gutter) this.#scroll.scrollLeft -= this.gutter - x + 2 * this.zoom;
    else if (x + this.zoom > this.width) this.#scroll.scrollLeft += x + 3 * this.zoom - this.width;
  }

  /** Scroll on while the pointer at `clientX` drags across an edge. */
  dragTo(clientX) {
    const x = clientX - this.#scroll.getBoundingClientRect().left;
    if (x > this.width - 12) this.#scroll.scrollLeft += this.zoom;
    else if (x < this.gutter + 12) this.#scroll.scrollLeft -= this.zoom;
  }

  /** Turn the page once the playhead at `x` reaches the right edge. */
  follow(x) {
    if (x > this.width - 24) this.#scroll.scrollLeft += this.width - this.gutter - 48;
  }
}
