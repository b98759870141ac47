// The selection of a grid: from the cell where it begins (anchor) to the one with the focus, rows counted from the top.

import { clamp } from "./layout.js";

export const range = (first, last) => Array.from({ length: last - first + 1 }, (_, index) => first + index);

/**
 * The cells between two corners. Within one level they are bands of it; over several levels, all bands of these.
 * If all levels are covered, none is named, so that frozen ones are left out.
 */
export function cellsBetween(anchor, focus, { bands, levels }) {
  const columns = [Math.min(anchor.column, focus.column), Math.max(anchor.column, focus.column) + 1];
  const [top, bottom] = [Math.min(anchor.row, focus.row), Math.max(anchor.row, focus.row)];
  const [first, last] = [Math.floor(top / bands), Math.floor(bottom / bands)];
  if (first !== last) {
    const all = last - first + 1 === levels.length;
    return { columns, bands: null, levels: all ? null : range(first, last) };
  }
  // The highest band is on top.
  const found = range(bands - 1 - (bottom % bands), bands - 1 - (top % bands));
  return { columns, bands: found.length === bands ? null : found, levels: [first] };
}

export class Selection {
  anchor = { column: 0, row: 0 };
  focus = { column: 0, row: 0 };
  /** Whether the user made it. */
  made = false;

  reset() {
    this.set({ column: 0, row: 0 });
    this.made = false;
  }

  set(anchor, focus = anchor) {
    this.anchor = { ...anchor };
    this.focus = { ...focus };
    this.made = true;
  }

  /** Move the focus by columns and rows; the anchor stays if the selection is to `grow`. */
  move([columns, rows], view, grow) {
    const moved = within(view, { column: this.focus.column + columns, row: this.focus.row + rows });
    this.set(grow ? this.anchor : moved, moved);
  }

  keepWithin(view) {
    this.anchor = within(view, this.anchor);
    this.focus = within(view, this.focus);
  }

  get single() {
    return this.anchor.column === this.focus.column && this.anchor.row === this.focus.row;
  }

  /** Columns from the first to the one after the last, bands and levels; null: all. */
  cells(view) {
    return cellsBetween(this.anchor, this.focus, view);
  }
}

function within({ columns, bands, levels }, { column, row }) {
  return { column: clamp(column, 0, columns - 1), row: clamp(row, 0, bands * levels.length - 1) };
}
