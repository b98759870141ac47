// A waveform as a button that plays, and a bar that shows where a sound lies between two channels.

import { h } from "./dom.js";

const WAVE = 240;

/** The bar of a stereo take; of a mono one there is none. */
export function placeBar(take) {
  if (!take.place) return null;
  const bar = h("div", { class: "d-place-bar", title: take.place.place });
  bar.innerHTML = '<svg class="d-place" viewBox="0 0 100 4" preserveAspectRatio="none" role="img"><rect height="4"/></svg>';
  bar.firstChild.setAttribute("aria-label", take.place.place);
  bar.querySelector("rect").setAttribute("x", take.place.left);
  bar.querySelector("rect").setAttribute("width", take.place.breadth);
  return bar;
}

/** The waveform of a take. */
export function waveform(take) {
  const name = `Play ${take.name}`;
  const place = h("button", { type: "button", class: "d-wave-button", "aria-label": name, title: name, tabindex: -1 });
  const image = `<svg class="d-waveform" viewBox="0 0 ${WAVE} 100" preserveAspectRatio="none" aria-hidden="true"><path/></svg>`;
  place.innerHTML = image;
  place.querySelector("path").setAttribute("d", take.wave);
  return place;
}
