// <distill-start kind="running">: how far the run of the tab Start is, and what there is to hear, read again and again.
//
// Where it no longer stands as its attributes say, it presses the button `moved` in it, which the tab hears.

import { h, put, renew } from "./dom.js";

const SECONDS = 2;

class Start extends HTMLElement {
  static observedAttributes = ["kind"];
  #timer = 0;
  #trouble = h("p", { class: "d-trouble", role: "alert" });
  #progress = h("div");
  #takes = h("div");
  #moved = h("button", { type: "button", hidden: true, "data-act": "moved", "data-id": "start" });

  connectedCallback() { this.#begin(); }

  disconnectedCallback() { clearTimeout(this.#timer); }

  attributeChangedCallback() { if (this.isConnected) this.#begin(); }

  #begin() {
    clearTimeout(this.#timer);
    // Gradio keeps the element when its attributes change, and empties it after that.
    this.#timer = setTimeout(() => this.#read(), 0);
  }

  async #read() {
    clearTimeout(this.#timer);
    if (this.#takes.parentNode !== this) this.replaceChildren(this.#trouble, this.#progress, this.#takes, this.#moved);
    const shown = this.checkVisibility() && !document.hidden;
    if (shown) {
      try {
        const answer = await fetch("/api/start", { cache: "no-store" });
        if (!answer.ok) throw new Error("refused");
        this.#show(await answer.json());
        this.#trouble.textContent = "";
      } catch {
        this.#trouble.textContent = "The page's server does not answer. What was begun goes on without it.";
      }
    }
    if (this.isConnected) this.#timer = setTimeout(() => this.#read(), shown ? SECONDS * 1000 : 300);
  }

  #show({ kind, about, progress, takes }) {
    put(this.#progress, progress, () => parsed(progress));
    renew(this.#takes, parsed(takes));
    if (kind !== this.getAttribute("kind") || about !== this.getAttribute("about")) this.#moved.click();
  }
}

/** The elements of a piece of the page that the server made. */
function parsed(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return [...template.content.children];
}

let asked = 0;

/** Play the sounds of a wall one after the other, until somebody plays or stops one. */
async function hearAll(wall) {
  const mine = ++asked;
  for (const button of [...wall.querySelectorAll(".d-play")]) {
    button.click();
    await silence(button);
    // Whatever else is heard by now, somebody wanted to hear.
    if (mine !== asked || !button.isConnected || document.querySelector(".d-heard, .d-play.d-on")) return;
  }
}

/** Once a play button no longer plays. */
function silence(button) {
  return new Promise((resolve) => {
    const observer = new MutationObserver(() => {
      if (button.classList.contains("d-on")) return;
      observer.disconnect();
      resolve();
    });
    observer.observe(button, { attributes: true, attributeFilter: ["class"] });
  });
}

document.addEventListener("click", (event) => {
  if (!event.isTrusted) return;
  const all = event.target.closest?.(".d-all");
  if (all) hearAll(all.closest(".d-wall"));
  else if (event.target.closest?.(".d-play, .d-sound")) asked += 1;
}, true);

customElements.define("distill-start", Start);
