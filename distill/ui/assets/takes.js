// <distill-takes>: every sound that was generated, found again: heard, kept, dropped, renamed, held side by side, exported.
//
// It reads and writes `/api/takes`. `attach(ask)` names the function that takes what other tabs do with a sound.

import { clock, h, put } from "./dom.js";
import { position, stop } from "./player.js";
import { adopt, hear, heardNow, hovers, setHovers } from "./sounds.js";
import { placeBar, waveform } from "./waveform.js";

const SECONDS = 2.5, MOST_ENDS = 8;
const VIEWS = [["all", "All"], ["kept", "Kept"], ["bin", "Bin"]];
const EMPTY = {
  all: "No sounds yet. What the tab Generate makes is found here again, also after this page was closed.",
  kept: "Nothing kept yet: the heart on a sound, or the key F, keeps it.",
  bin: "The bin is empty. What is dropped lies here, and can be taken back.",
};
const KEYS = "Space plays, the arrows go on, 1 to 9 play the first nine; F keeps, X drops, R renames, S chooses, C opens the codes, M makes more like it. B plays the other of two chosen ones.";

const sounds = (number) => `${number} sound${number === 1 ? "" : "s"}`;

class Takes extends HTMLElement {
  #ask = () => {};
  #show = "all";
  #words = "";
  #page = 0;
  #listed = null;
  #chosen = new Map();
  #timer = 0;
  #renaming = "";
  #unread = false;
  #bar = h("div", { class: "d-takes-bar" });
  #pair = h("div", { class: "d-takes-pair" });
  #trouble = h("p", { class: "d-trouble", role: "alert" });
  #said = h("p", { class: "d-hidden", role: "status" });
  #told = h("p", { class: "d-hint", role: "status" });
  #map = h("distill-map", { hidden: true });
  #cards = h("div", { class: "d-cards d-takes" });
  #pager = h("div", { class: "d-takes-bar" });

  attach(ask) { this.#ask = ask; }

  connectedCallback() {
    if (!this.firstChild) {
      const search = h("input", { type: "search", class: "d-field", placeholder: "Search by name …", "aria-label": "Search takes", maxlength: 200,
        oninput: () => { this.#words = search.value; this.#page = 0; this.#read(); } });
      const hover = h("input", { type: "checkbox", onchange: () => setHovers(hover.checked) });
      hover.checked = hovers();
      this.append(h("div", { class: "d-takes-bar" }, this.#bar, search, h("label", { class: "d-check-line" }, hover, "Play on hover")),
        this.#trouble, this.#said, this.#told, this.#pair, this.#map, this.#cards, this.#pager, h("p", { class: "d-hint" }, KEYS));
      this.addEventListener("keydown", (event) => {
        if (event.key.toLowerCase() !== "b" || event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
        this.#pair.querySelector('[data-act="turn"]')?.click();
      });
      customElements.whenDefined("distill-map").then(() => this.#map.attach({
        chosen: () => new Set(this.#chosen.keys()), choose: (take) => this.#choose(take), trouble: (line) => { this.#trouble.textContent = line; } }));
    }
    this.#watch();
  }

  disconnectedCallback() { clearTimeout(this.#timer); }

  #watch() {
    clearTimeout(this.#timer);
    const shown = this.checkVisibility() && !document.hidden;
    if (shown) this.#read();
    this.#timer = setTimeout(() => this.#watch(), shown ? SECONDS * 1000 : 250);
  }

  async #read() {
    const asked = new URLSearchParams({ show: this.#show, words: this.#words, page: this.#page });
    try {
      const listed = await this.#call(`/api/takes?${asked}`);
      // An answer to an earlier question may come late.
      if (asked.toString() !== new URLSearchParams({ show: this.#show, words: this.#words, page: this.#page }).toString()) return;
      this.#listed = listed;
      this.#page = listed.page;
      await this.#forget();
      this.#draw();
      if (this.#unread) this.#complain("");
    } catch (error) {
      this.#complain(error);
      this.#unread = true;
    }
  }

  /** Say what went wrong, until something is done or, if it was the reading, until that works again. */
  #complain(error) {
    this.#unread = false;
    this.#trouble.textContent = error && (error.line ?? "The page's server does not answer.");
  }

  async #call(address, values) {
    const options = values ? { method: "POST", body: JSON.stringify(values), headers: { "Content-Type": "application/json" } } : {};
    const answer = await fetch(address, { cache: "no-store", ...options });
    const found = await answer.json();
    if (!answer.ok) throw Object.assign(new Error("refused"), { line: found.error });
    return found;
  }

  async #do(words, act) {
    this.#complain("");
    try {
      await act();
      this.#said.textContent = words;
    } catch (error) {
      this.#complain(error);
    }
    await this.#read();
  }

  #mark(take, changes, words) {
    return this.#do(`${take.name}: ${words}`, async () => {
      await this.#call("/api/takes", { takes: [take.id], ...changes });
      // What is in the bin is not exported with what stays.
      if (changes.dropped && this.#chosen.delete(take.id)) this.#map.mark();
    });
  }

  /** What is gone by now, or in the bin, is not chosen any more. */
  async #forget() {
    const chosen = [...this.#chosen.keys()];
    if (!chosen.length) return;
    const { takes } = await this.#call("/api/takes/there", { takes: chosen });
    const gone = chosen.filter((id) => !takes.includes(id));
    for (const id of gone) this.#chosen.delete(id);
    if (gone.length) this.#map.mark();
  }

  #choose(take) {
    if (!this.#chosen.delete(take.id)) this.#chosen.set(take.id, take);
    this.#map.mark();
    this.#draw();
  }

  #look(show) {
    this.#show = show;
    this.#page = 0;
    this.#read();
  }

  #draw() {
    const { takes, counts, page, pages } = this.#listed;
    for (const take of takes) if (this.#chosen.has(take.id)) this.#chosen.set(take.id, take);
    const chosen = [...this.#chosen.keys()];
    const pressed = [this.#bar, this.#pager].find((place) => place.contains(document.activeElement)) && document.activeElement.dataset.act;
    const focused = this.#cards.contains(document.activeElement) ? document.activeElement : null;
    const at = focused ? { id: focused.closest(".d-entry")?.dataset.id, act: focused.dataset.act } : null;
    const place = at ? [...this.#cards.children].findIndex((card) => card.dataset.id === at.id) : -1;
    put(this.#bar, [this.#show, counts, chosen, this.#map.hidden], () => [
      h("div", { class: "d-choice", role: "group", "aria-label": "Which takes" }, VIEWS.map(([key, name]) =>
        h("button", { type: "button", class: "d-button", "data-act": `show-${key}`, "aria-pressed": String(key === this.#show), onclick: () => this.#look(key) },
          `${name} (${counts[key]})`))),
      h("button", { type: "button", class: "d-button", "data-act": "export", disabled: !chosen.length, onclick: () => this.#fetch("/api/takes/export", chosen, `${sounds(chosen.length)} in one zip file`) },
        chosen.length ? `Export ${chosen.length} as zip` : "Export as zip"),
      h("button", { type: "button", class: "d-button", "data-act": "kit", disabled: !chosen.length, title: "A kit for samplers: SFZ, Hydrogen, Decent Sampler",
        onclick: () => this.#fetch("/api/takes/kit", chosen, `a kit of ${sounds(chosen.length)}`) }, "As kit"),
      h("button", { type: "button", class: "d-button", "data-act": "folder", disabled: !chosen.length, title: "Copy them into a folder of the project",
        onclick: () => this.#folder(chosen) }, "As folder"),
      h("button", { type: "button", class: "d-button", "data-act": "between", disabled: chosen.length < 2 || chosen.length > MOST_ENDS,
        title: "Make what lies between each chosen sound and the next", onclick: () => this.#ask({ act: "between", ids: chosen }) }, "Between these"),
      h("button", { type: "button", class: "d-button", "data-act": "map", "aria-pressed": String(!this.#map.hidden),
        onclick: () => { this.#map.hidden = !this.#map.hidden; if (!this.#map.hidden) this.#map.read(); this.#draw(); } }, "Map"),
      h("button", { type: "button", class: "d-button", "data-act": "none", disabled: !chosen.length,
        onclick: () => { this.#chosen.clear(); this.#map.mark(); this.#draw(); } }, "Choose none"),
    ]);
    put(this.#pair, chosen.length === 2 ? [...this.#chosen.values()] : chosen.length, () => this.#pairOf([...this.#chosen.values()]));
    if (!this.#renaming) {
      put(this.#cards, [this.#show, takes, chosen], () => takes.length ? takes.map((take) => this.#card(take))
        : h("p", { class: "d-hint" }, this.#words ? "No sound matches." : EMPTY[this.#show]));
    }
    put(this.#pager, [page, pages], () => pages < 2 ? [] : [
      this.#turn("Newer", page - 1, pages), h("span", {}, `Page ${page + 1} of ${pages}`), this.#turn("Older", page + 1, pages)]);
    adopt([...this.#cards.children]);
    if (pressed && !this.contains(document.activeElement)) {
      const places = [...this.#bar.querySelectorAll("button"), ...this.#pager.querySelectorAll("button")];
      (places.find((button) => button.dataset.act === pressed && !button.disabled) ?? places[0])?.focus();
    }
    if (at && !this.#cards.contains(document.activeElement)) {
      const card = [...this.#cards.children].find((each) => each.dataset.id === at.id) ?? this.#cards.children[place];
      ((at.act && card?.querySelector(`[data-act="${at.act}"]`)) || card)?.focus?.();
    }
  }

  #turn(name, page, pages) {
    return h("button", { type: "button", class: "d-button", "data-act": name.toLowerCase(), disabled: page < 0 || page >= pages,
      onclick: () => { this.#page = page; this.#read(); } }, name);
  }

  #card(take) {
    const act = (name, words, title, run, attributes = {}) => h("button", {
      type: "button", class: "d-button", "data-act": name, title, "aria-label": `${title}: ${take.name}`, onclick: run, ...attributes }, words);
    const chosen = this.#chosen.has(take.id);
    const toOthers = take.model && !take.dropped;
    return h("article", {
      class: `d-card d-sound d-entry${chosen ? " chosen" : ""}`, tabindex: 0, draggable: "true", "data-id": take.id, "data-src": take.sound,
      "data-file": take.file, "aria-label": `${take.name}, ${clock(take.seconds)}${take.kept ? ", kept" : ""}` },
      h("header", {}, h("h3", {}, take.name), h("p", {}, [clock(take.seconds), take.words].filter(Boolean).join(" · "))),
      waveform(take),
      placeBar(take),
      h("div", { class: "d-acts" },
        take.dropped ? null : act("keep", take.kept ? "♥" : "♡", take.kept ? "Kept; press to let go" : "Keep",
          () => this.#mark(take, { kept: !take.kept }, take.kept ? "not kept" : "kept"), { "aria-pressed": String(take.kept) }),
        take.dropped ? act("drop", "Take back", "Take back from the bin", () => this.#mark(take, { dropped: false }, "taken back"))
          : act("drop", "✕", "Drop into the bin", () => this.#mark(take, { dropped: true }, "in the bin")),
        take.dropped ? null : act("choose", chosen ? "☑" : "☐", "Choose, to export it or to hear two in turns", () => this.#choose(take), { "aria-pressed": String(chosen) }),
        take.dropped ? null : act("rename", "✎", "Rename", () => this.#rename(take)),
        h("a", { class: "d-button", href: take.sound, download: take.file, title: "Download", "aria-label": `Download ${take.file}` }, "⤓"),
        toOthers ? act("codes", "To the codes", "Open its codes", () => this.#ask({ act: "codes", id: take.id })) : null,
        toOthers ? act("more", "More like this", "Make more like this", () => this.#ask({ act: "more", id: take.id })) : null));
  }

  #rename(take) {
    const card = [...this.#cards.children].find((each) => each.dataset.id === take.id);
    // A card that was just dropped may still be pressed.
    if (!card) return;
    const title = card.querySelector("h3");
    const field = h("input", { class: "d-field", maxlength: 80, value: take.name, "aria-label": `New name of ${take.name}` });
    const end = async (save) => {
      if (this.#renaming !== take.id) return;
      this.#renaming = "";
      delete this.#cards.dataset.key;
      const name = field.value.trim();
      card.focus();
      if (save && name !== take.name) await this.#mark(take, { name }, `is called ${name || "as its file"} now`);
      else this.#draw();
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === "Escape") end(event.key === "Enter");
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(true));
    this.#renaming = take.id;
    title.replaceChildren(field);
    field.select();
  }

  #fetch(from, chosen, words) {
    return this.#do(words, async () => {
      const { address, name } = await this.#call(from, { takes: chosen });
      const link = h("a", { href: address, download: name });
      this.append(link);
      link.click();
      link.remove();
    });
  }

  #folder(chosen) {
    return this.#do(`${sounds(chosen.length)} in a folder`, async () => {
      const { folder } = await this.#call("/api/takes/folder", { takes: chosen });
      this.#told.textContent = `${sounds(chosen.length)} copied to ${folder}.`;
    });
  }

  /** Two chosen takes, heard in turns with the same loudness: the louder one is made as soft as the other. */
  #pairOf(takes) {
    if (takes.length !== 2) return [];
    const softer = Math.min(...takes.map((take) => take.lufs));
    const players = takes.map((take, index) => h("div", {
      class: "d-sound d-side", tabindex: 0, "data-src": take.sound, "data-file": take.file, draggable: "true",
      "data-volume": 10 ** ((softer - take.lufs) / 20), "aria-label": `${"AB"[index]}: ${take.name}` },
      h("strong", {}, "AB"[index]), h("span", {}, take.name), waveform(take)));
    const turn = () => {
      const now = players.indexOf(heardNow()), from = now < 0 ? 0 : position().seconds;
      stop();
      hear(players[now === 0 ? 1 : 0], from < takes[now === 0 ? 1 : 0].seconds ? from : 0);
    };
    return [h("h3", {}, "A and B, equally loud"), ...players,
      h("button", { type: "button", class: "d-button", "data-act": "turn", onclick: turn }, "Play the other")];
  }
}

customElements.define("distill-takes", Takes);
