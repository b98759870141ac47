// What holds all over the page: play buttons, and what was told, which goes with the tab that it was told in.

import { play, stop } from "./player.js";

let playing = null;

// A button `.d-play` plays the address in its `data-src`.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".d-play");
  if (!button) return;
  const again = button === playing;
  stop();
  if (again) return;
  playing = button;
  button.classList.add("d-on");
  const done = () => { button.classList.remove("d-on"); playing = null; };
  play(button.dataset.src, { done, failed: () => button.classList.add("d-broken") });
});

document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[role=tab]")) return;
  for (const close of document.querySelectorAll(".toast-close")) close.click();
});
