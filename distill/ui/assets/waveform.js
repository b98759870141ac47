// A waveform as a button that plays.

import { h } from "./dom.js";

const WAVE = 240;

/** That of a take. */
export function waveform(take) {
  const name = `Play ${take.name}`;
  const place = h("button", { type: "button", class: "d-wave-button", "aria-label": name, title: name, tabindex: -1 });
  const image = `<svg class="d-waveform" viewBox="0 0 ${WAVE} 100" preserveAspectRatio="none" aria-hidden="true"><path/></svg>`;
  place.innerHTML = image;
  place.querySelector("path").setAttribute("d", take.wave);
  return place;
}
