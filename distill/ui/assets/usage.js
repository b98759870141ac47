// How often each code of each level is used: a strip a level, a field a code, the fuller the more often.

import { h, percent } from "./dom.js";

/** The strips of a table `level,code,uses`, read from its address; `labels` are what the levels are called. */
export function usage(address, labels) {
  const tip = h("output", { class: "d-tip", "aria-hidden": "true" }, HINT);
  const place = h("div", { class: "d-usage" });
  read(address).then((levels) => place.replaceChildren(
    ...levels.map((uses, level) => strip(labels[level] ?? `${level}`, uses, (text) => { tip.textContent = text; })),
    tip));
  return place;
}

const HINT = "Pale: seldom used, full: often, empty: never. Point at a code for its number.";

async function read(address) {
  const levels = [];
  for (const line of (await text(address)).trim().split("\n").slice(1)) {
    const [level, code, uses] = line.split(",").map(Number);
    (levels[level] ??= [])[code] = uses;
  }
  return levels;
}

const TRIES = 30, LONGEST_MS = 5000;

/** What an address gives, asked for every second: a file that is just being replaced is there a moment later. */
async function text(address) {
  for (let tried = 0; tried < TRIES; tried += 1) {
    // A request that hangs would be the last one.
    const answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS) })
      .then((got) => (got.ok ? got.text() : null)).catch(() => null);
    if (answer !== null) return answer;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  return "";
}

function strip(label, uses, tell) {
  const all = uses.reduce((sum, each) => sum + each, 0) || 1, most = Math.max(...uses, 1);
  const used = uses.filter(Boolean).length, first = uses.indexOf(most);
  const words = `${label}: ${used} of ${uses.length} codes used; most often code ${first}, ${percent(most / all)}`;
  const field = (count, code) => {
    const colour = count ? `color-mix(in srgb, var(--color-accent) ${Math.round(15 + 85 * Math.sqrt(count / most))}%, transparent)` : "transparent";
    return `${colour} ${100 * code / uses.length}% ${100 * (code + 1) / uses.length}%`;
  };
  const bar = h("div", { class: "d-strip", role: "img", "aria-label": words });
  bar.style.background = `linear-gradient(to right, ${uses.map(field).join(", ")})`;
  bar.addEventListener("pointermove", (event) => {
    const box = bar.getBoundingClientRect();
    const code = Math.min(uses.length - 1, Math.max(0, Math.floor((event.clientX - box.left) / box.width * uses.length)));
    tell(`${label}, code ${code}: ${uses[code]} times, ${percent(uses[code] / all)}`);
  });
  bar.addEventListener("pointerleave", () => tell(HINT));
  return h("div", { class: "d-used" }, h("strong", {}, label), bar,
    h("span", { class: "d-subdued" }, `${used} of ${uses.length}`));
}
