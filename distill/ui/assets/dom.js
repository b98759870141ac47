// The few things that every element of the page needs to write itself.

/** An HTML element with attributes, listeners (`onclick`) and children; null and false are left out. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put new content into a place only where it differs, so that players, focus and selections survive. */
export function put(place, key, content) {
  const text = JSON.stringify(key);
  if (place.dataset.key === text) return;
  place.dataset.key = text;
  place.replaceChildren(...[content()].flat(3).filter(Boolean));
}

// The source of elements that `renew` has placed: all of it, and without what is in it.
const sources = new WeakMap();

/** Bring a place up to date: elements whose source is as it was stay, with their players, focus and open folds. */
export function renew(place, elements) {
  const before = [...place.children];
  elements.forEach((element, index) => {
    const old = before[index], was = sources.get(old), now = sourceOf(element);
    if (was?.whole === now.whole) return;
    if (was?.shell === now.shell && holdsElements(old) && holdsElements(element)) {
      renew(old, [...element.children]);
      sources.set(old, now);
      return;
    }
    for (const each of [element, ...element.querySelectorAll("*")]) sources.set(each, sourceOf(each));
    if (old) old.replaceWith(element);
    else place.append(element);
  });
  before.slice(elements.length).forEach((old) => old.remove());
}

const sourceOf = (element) => ({ whole: element.outerHTML, shell: element.cloneNode(false).outerHTML });

const holdsElements = ({ childNodes }) => [...childNodes].every((node) => node instanceof Element || !node.data.trim());

/** A number with three significant digits; a dash where there is none. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return size < 0.001 ? value.toExponential(1).replace(".0e", "e") : String(Number(value.toPrecision(3)));
}

/** A share as per cent. */
export const percent = (share) => `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** A duration in words. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A position or length in s as on a clock: 1.37 s, 1:05.2. */
export function clock(seconds, digits = 2) {
  if (seconds < 60) return `${seconds.toFixed(digits)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}
