// What holds all over the page: play buttons, the tab in front, which is so again after a reload, what was told, which
// goes with the tab that it was told in, and the desk behind the page, without which it is loaded anew.

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

// What a double click would do twice: the buttons that Gradio makes, and those of cards that make something.
const ONCE = "button.lg, button.md, button.sm, [data-act=more], [data-act=folder], [data-act=kit], [data-act=export]";

document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest?.(ONCE)) event.stopImmediatePropagation();
}, true);

const IN_FRONT = "distill-in-front";
const tabs = () => [...document.querySelectorAll("#tabs [role=tab]")];

addEventListener("pagehide", () => {
  const front = tabs().find((tab) => tab.getAttribute("aria-selected") === "true");
  if (front) sessionStorage.setItem(IN_FRONT, front.textContent.trim());
});

// Before the page can be touched, it is not whole.
new MutationObserver((_, observer) => {
  if (document.documentElement.inert) return;
  observer.disconnect();
  const name = sessionStorage.getItem(IN_FRONT);
  tabs().find((tab) => tab.textContent.trim() === name)?.click();
  keepDesk();
}).observe(document.documentElement, { attributes: true, attributeFilter: ["inert"] });

document.addEventListener("click", (event) => {
  if (!event.target.closest?.("[role=tab]")) return;
  for (const close of document.querySelectorAll(".toast-close")) close.click();
});

const DESK_SECONDS = 5;

/** Say again and again that the tab is open. A server that was started anew finds the desk when the page is loaded. */
async function keepDesk() {
  const name = sessionStorage.getItem("distill-tab");
  for (let had = false; ;) {
    const answer = await fetch(`/desk/${name}`, { cache: "no-store" }).catch(() => null);
    const open = answer?.ok ? await answer.json().catch(() => null) : null;
    if (had && open === false) return location.reload();
    had ||= open === true;
    await new Promise((resolve) => setTimeout(resolve, 1000 * DESK_SECONDS));
  }
}
