// <distill-chart>: curves over epochs as SVG, with a legend and the same in words.
//
// `curves` is {title, x, unit, series: [{name, values, colour, dashed}], level: {name, value} or null, log}. With `log`
// values that span more than a decade are on a logarithmic axis, where a wall and a floor become a slope. A library for
// charts would be several times as large, and would not say the curves in words.

import { h, s, short } from "./dom.js";

const DECADE = 10;
const WIDTHS = [260, 900], HEIGHT = 240, LEFT = 48, RIGHT = 10, TOP = 10, BOTTOM = 26;

class Chart extends HTMLElement {
  #key = "";
  #curves = null;
  #resized = new ResizeObserver(() => this.#draw());

  connectedCallback() { this.#resized.observe(this); }

  disconnectedCallback() { this.#resized.disconnect(); }

  set curves(curves) {
    this.#curves = curves;
    this.#draw();
  }

  /** Draw in the width that there is, so that letters keep their size. */
  #draw() {
    const width = Math.round(Math.min(Math.max(this.clientWidth || WIDTHS[1], WIDTHS[0]), WIDTHS[1]));
    const key = JSON.stringify([this.#curves, width]);
    if (!this.#curves || key === this.#key) return;
    this.#key = key;
    const words = inWords(this.#curves);
    this.replaceChildren(
      h("figure", { class: "d-chart" },
        h("figcaption", {}, h("h4", {}, this.#curves.title), legend(this.#curves)),
        this.#curves.x.length ? drawn(this.#curves, words, width) : null,
        h("p", { class: "d-words" }, words)),
    );
  }
}

function legend({ series, level }) {
  const shown = series.map(({ name, colour, dashed }) => h("li", {}, line(colour, dashed), name));
  if (level) shown.push(h("li", {}, line("#d97706", true), level.name));
  return h("ul", { class: "d-legend" }, shown);
}

function line(colour, dashed) {
  return s("svg", { width: 22, height: 8, "aria-hidden": "true" },
    s("line", { x1: 1, x2: 21, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dashed ? "5 4" : null }));
}

function drawn({ x, series, level, unit, log }, words, width) {
  const values = series.flatMap((each) => each.values).concat(level ? [level.value] : []).filter(Number.isFinite);
  const image = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": words, class: "d-curves" });
  if (!values.length) return image;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const logarithmic = log && least > 0 && most > DECADE * least;
  const ticks = logarithmic ? decadeTicks(least, most) : niceTicks(least, most);
  const scale = logarithmic ? Math.log10 : (value) => value;
  const [low, high] = [scale(ticks[0]), scale(ticks[ticks.length - 1])];
  const [first, last] = [x[0], Math.max(x[x.length - 1], x[0] + 1)];
  const px = (value) => LEFT + (value - first) / (last - first) * (width - LEFT - RIGHT);
  const py = (value) => TOP + (high - scale(value)) / (high - low) * (HEIGHT - TOP - BOTTOM);
  for (const tick of ticks) {
    image.append(
      s("line", { x1: LEFT, x2: width - RIGHT, y1: py(tick), y2: py(tick), class: "d-grid" }),
      s("text", { x: LEFT - 6, y: py(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const at of [first, Math.round((first + last) / 2), last]) {
    const anchor = at === first ? "start" : at === last ? "end" : "middle";
    image.append(s("text", { x: px(at), y: HEIGHT - 8, "text-anchor": anchor }, `${at === first ? `${unit} ` : ""}${at}`));
  }
  if (level && Number.isFinite(level.value)) {
    image.append(s("line", { x1: LEFT, x2: width - RIGHT, y1: py(level.value), y2: py(level.value), class: "d-level" }));
  }
  for (const { name, values: heights, colour, dashed } of series) {
    const points = x.map((at, index) => [at, heights[index]]);
    image.append(s("path", {
      d: path(points, px, py), fill: "none", stroke: colour, "stroke-width": 2, "data-name": name,
      "stroke-dasharray": dashed ? "6 4" : null, "stroke-linejoin": "round",
    }));
    if (points.length === 1 && Number.isFinite(heights[0])) {
      image.append(s("circle", { cx: px(x[0]), cy: py(heights[0]), r: 3, fill: colour }));
    }
  }
  return image;
}

/** A path that leaves a gap where a value is missing. */
function path(points, px, py) {
  let drawing = false;
  return points.map(([at, value]) => {
    if (!Number.isFinite(value)) { drawing = false; return ""; }
    const command = drawing ? "L" : "M";
    drawing = true;
    return `${command}${px(at).toFixed(1)} ${py(value).toFixed(1)}`;
  }).join("");
}

function niceTicks(low, high) {
  const span = Math.max(high - low, Math.abs(high) * 0.02, 1e-9);
  const rough = span / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const start = Math.floor(low / step), end = Math.ceil(high / step);
  return Array.from({ length: end - start + 1 }, (_, index) => Number(((start + index) * step).toPrecision(10)));
}

/** 1, 2 and 5 times powers of ten, or with many decades the powers alone, from below the least to above the most. */
function decadeTicks(least, most) {
  const steps = most / least > 1000 ? [1] : [1, 2, 5];
  const every = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power += 1) {
    every.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(3))));
  }
  const first = every.findLastIndex((tick) => tick <= least), last = every.findIndex((tick) => tick >= most);
  return every.slice(Math.max(0, first), last < 0 ? every.length : last + 1);
}

function inWords({ x, series, level, unit }) {
  if (!x.length) return "No figures yet.";
  const said = series.map(({ name, values }) => {
    const known = values.map((value, index) => [value, x[index]]).filter(([value]) => Number.isFinite(value));
    if (!known.length) return `${name}: none`;
    const best = known.reduce((one, other) => (other[0] < one[0] ? other : one));
    return `${name} ${short(known[known.length - 1][0])}, lowest ${short(best[0])} in ${unit} ${best[1]}`;
  });
  const limit = level ? ` The line: ${level.name}.` : "";
  return `After ${unit} ${x[x.length - 1]}: ${said.join("; ")}.${limit}`;
}

customElements.define("distill-chart", Chart);
