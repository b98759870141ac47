// Drawing a grid on canvases: the time axis, the cells of each level, the selection, the labels.

import { clock, h } from "../dom.js";
import { tick } from "./layout.js";
import { hertz } from "./words.js";

export const RULER = 24; // px

/** The page's colours and font, as they are now. */
export function lookOf(element) {
  const style = getComputedStyle(element), colour = (name) => style.getPropertyValue(name).trim();
  return {
    text: colour("--body-text-color"),
    quiet: colour("--body-text-color-subdued"),
    back: colour("--block-background-fill"),
    line: colour("--border-color-primary"),
    accent: colour("--grid-accent"),
    font: style.fontFamily,
  };
}

/** Give a canvas its size in px, at the resolution of the screen. */
export function resize(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").setTransform(scale, 0, 0, scale, 0, 0);
}

/** One picture per level with one pixel per cell: drawing at any zoom stretches it. */
export function bitmapsOf({ columns, bands, levels, codes, palette }) {
  const colours = palette.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return levels.map((_, level) => {
    const bitmap = h("canvas", { width: columns, height: bands }), context = bitmap.getContext("2d");
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

/** The time axis, with the selected columns underlined. */
export function drawRuler(canvas, layout, columns, look) {
  const { view, gutter, secondsPerPixel } = layout;
  const context = canvas.getContext("2d"), width = canvas.clientWidth;
  context.clearRect(0, 0, width, RULER);
  context.font = `11px ${look.font}`;
  context.textBaseline = "middle";
  const step = tick(secondsPerPixel);
  const begin = Math.max(0, (gutter - layout.x(0)) * secondsPerPixel);
  context.fillStyle = look.quiet;
  context.textAlign = "left";
  for (let index = Math.floor(begin / step); ; index++) {
    const seconds = index * step, x = layout.x(seconds / view.secondsPerColumn);
    if (x > width || seconds > view.columns * view.secondsPerColumn) break;
    if (x < gutter - 1) continue;
    context.fillRect(Math.round(x), RULER - 7, 1, 7);
    context.fillText(clock(seconds, step < 1 ? 1 : 0), x + 4, RULER / 2 - 2);
  }
  context.fillStyle = look.accent;
  const left = Math.max(gutter, layout.x(columns[0]));
  context.fillRect(left, RULER - 3, Math.max(0, layout.x(columns[1]) - left), 3);
  context.clearRect(0, 0, gutter - 1, RULER);
  context.fillStyle = look.quiet;
  context.textAlign = "right";
  context.fillText("time", gutter - 10, RULER / 2 - 2);
}

/** All levels with the selected `cells`, and a frame around the cell with the focus if it is given. */
export function drawLevels(canvas, layout, bitmaps, { cells, focus }, look) {
  const { view, gutter, height } = layout;
  const context = canvas.getContext("2d"), width = canvas.clientWidth;
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  context.save();
  context.beginPath();
  context.rect(gutter, 0, width - gutter, height);
  context.clip();
  view.levels.forEach((_, level) => drawLevel(context, layout, bitmaps[level], level, look));
  drawSelection(context, layout, cells);
  if (focus) {
    context.lineWidth = 2;
    context.strokeStyle = look.accent;
    context.strokeRect(layout.x(focus.column) - 1, layout.rowTop(focus.row) - 1, layout.zoom + 2, layout.row + 2);
  }
  context.restore();
  drawLabels(context, layout, look);
}

function drawLevel(context, layout, bitmap, level, look) {
  const { view, zoom, tall, row } = layout, [first, last] = layout.visible, count = last - first;
  const x = layout.x(first), y = layout.top(level);
  context.globalAlpha = view.frozen.includes(level) ? 0.45 : 1;
  context.drawImage(bitmap, first, 0, count, view.bands, x, y, count * zoom, tall);
  if (zoom >= 8) {
    context.fillStyle = look.back;
    context.globalAlpha = 0.55;
    for (let column = first; column <= last; column++) context.fillRect(layout.x(column) - 0.5, y, 1, tall);
    for (let band = 1; band < view.bands; band++) context.fillRect(x, y + band * row - 0.5, count * zoom, 1);
  }
  context.globalAlpha = 1;
}

function drawSelection(context, layout, { columns, bands, levels }) {
  const { view, row } = layout;
  const x = layout.x(columns[0]), width = (columns[1] - columns[0]) * layout.zoom;
  const [low, high] = bands ? [bands[0], bands[bands.length - 1]] : [0, view.bands - 1];
  view.levels.forEach((_, level) => {
    if (levels ? !levels.includes(level) : view.frozen.includes(level)) return;
    const y = layout.top(level) + (view.bands - 1 - high) * row;
    for (const [lineWidth, colour] of [[3, "#000000cc"], [1.5, "#ffffff"]]) {
      context.lineWidth = lineWidth;
      context.strokeStyle = colour;
      context.strokeRect(x, y, width, (high - low + 1) * row);
    }
  });
}

function drawLabels(context, layout, look) {
  const { view, gutter, tall } = layout;
  context.textBaseline = "middle";
  context.textAlign = "right";
  view.levels.forEach((label, level) => {
    const y = layout.top(level), top = view.frozen.includes(level) ? "frozen" : hertz(view.bandsHz[view.bands - 1][1]);
    context.font = `600 12px ${look.font}`;
    context.fillStyle = look.text;
    context.fillText(cut(label, gutter < 80 ? 10 : 14), gutter - 10, y + 8);
    context.font = `10.5px ${look.font}`;
    context.fillStyle = look.quiet;
    context.fillText(top, gutter - 10, y + 24);
    context.fillText(hertz(view.bandsHz[Math.floor(view.bands / 2)][0]), gutter - 10, y + tall / 2 + 6);
    context.fillText(hertz(view.bandsHz[0][0]), gutter - 10, y + tall - 5);
  });
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
