// What a grid says of itself in words.

import { clock } from "../dom.js";
import { range } from "./selection.js";

export const hertz = (value) =>
  value >= 1000 ? `${Number((value / 1000).toPrecision(2))} kHz` : `${Math.round(value)} Hz`;

/** The code of a cell. */
export function codeAt(view, { column, row }) {
  const level = Math.floor(row / view.bands), band = view.bands - 1 - (row % view.bands);
  return view.codes[(column * view.bands + band) * view.levels.length + level];
}

/** The whole grid, for those who cannot see it. */
export const describeGrid = (view) =>
  `${view.name}: ${view.columns} columns, ${clock(view.seconds)}, levels ${view.levels.join(", ")} of ` +
  `${view.bands} bands, codes 0 to ${view.size - 1}. Arrow keys move, Enter plays the cell.`;

/** The selected cells; of a single one also its frequencies and its code. */
export function describeSelection(view, { columns, bands, levels }, code) {
  const count = columns[1] - columns[0], begin = clock(columns[0] * view.secondsPerColumn);
  const names = (levels ?? range(0, view.levels.length - 1)).map((level) => view.levels[level]).join(", ");
  if (count === 1 && levels?.length === 1 && bands?.length === 1) {
    const [low, high] = view.bandsHz[bands[0]];
    return `${names}, ${hertz(low)} to ${hertz(high)}, ${begin}: code ${code}`;
  }
  const rows = bands ? `${bands.length} of ${view.bands} bands` : "all bands";
  return `${names}, ${rows}, ${begin} to ${clock(columns[1] * view.secondsPerColumn)} (${count} columns)`;
}

/** The tooltip of Undo or Redo; `step`: what it would undo or redo. */
export function describeHistory(act, step) {
  return step === null ? `Nothing to ${act}` : `${act === "undo" ? "Undo" : "Redo"}: ${step}`;
}
