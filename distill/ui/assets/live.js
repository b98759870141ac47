// <distill-live run="NAME" view="train|monitor" stage="...">: a training as it is now, read again every 2 seconds.
//
// It only reads `/api/state`; whoever looks changes nothing. What did not change is not drawn again. `d-moved` tells that
// the training is in another state.

import "./bars.js";
import "./chart.js";
import { h } from "./dom.js";
import { Monitor } from "./monitor.js";
import { Training } from "./training.js";

const SECONDS = 2, LONGEST_MS = 20_000;
const VIEWS = { train: Training, monitor: Monitor };

class Live extends HTMLElement {
  static observedAttributes = ["run", "stage", "view"];
  #timer = 0;
  #said = h("p", { class: "d-hidden", role: "status" });
  #trouble = h("p", { class: "d-trouble", role: "alert" });
  #view = null;
  #state = "";

  connectedCallback() { this.#begin(); }

  disconnectedCallback() { clearTimeout(this.#timer); }

  attributeChangedCallback() { if (this.isConnected) this.#begin(); }

  #begin() {
    clearTimeout(this.#timer);
    this.#view = new VIEWS[this.getAttribute("view")]();
    // Gradio keeps the element when its attributes change, and empties it after that.
    this.#timer = setTimeout(() => this.#read(this.#view), 0);
  }

  async #read(view) {
    if (view.element.parentNode !== this) this.replaceChildren(this.#said, this.#trouble, view.element);
    const shown = this.checkVisibility() && !document.hidden;
    if (shown && this.getAttribute("run")) {
      try {
        await view.read((stage) => this.#values(stage ?? this.getAttribute("stage")), (text) => this.#tell(text));
        this.#trouble.textContent = "";
      } catch (error) {
        this.#trouble.textContent = error.line ?? "The page's server does not answer. Trainings go on without it.";
      }
    }
    if (view === this.#view && this.isConnected) {
      this.#timer = setTimeout(() => this.#read(view), shown ? SECONDS * 1000 : 300);
    }
  }

  async #values(stage) {
    const query = new URLSearchParams({ run: this.getAttribute("run"), ...(stage ? { stage } : {}) });
    const answer = await fetch(`/api/state?${query}`, { cache: "no-store", signal: AbortSignal.timeout(LONGEST_MS) });
    const values = await answer.json();
    if (!answer.ok) throw Object.assign(new Error("refused"), { line: values.error });
    // Not what depends on the training that is asked for: several are asked for in turn.
    this.#moved([values.run, values.state, values.stage, values.model, values.work?.unit]);
    return values;
  }

  /** Tell when the training is in another state: then other buttons can act. */
  #moved(state) {
    const text = JSON.stringify(state);
    if (text === this.#state) return;
    this.#state = text;
    this.dispatchEvent(new CustomEvent("d-moved", { bubbles: true }));
  }

  #tell(text) { if (this.#said.textContent !== text) this.#said.textContent = text; }
}

customElements.define("distill-live", Live);
