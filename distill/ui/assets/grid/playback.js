// Playing the sound of a grid, or a clip of it: one at a time, and nothing else on the page.

import { alone } from "../player.js";

export class Playback {
  #audio = null;
  #clip = null;
  #changed;
  #moved;

  /** `changed` is called when the sound starts or stops, `moved` for each frame in which it plays. */
  constructor(changed, moved) {
    this.#changed = changed;
    this.#moved = moved;
  }

  get playing() {
    return Boolean(this.#audio && !this.#audio.paused);
  }

  /** The position of the sound in s; null: there is none. */
  get seconds() {
    return this.#audio?.currentTime ?? null;
  }

  /** Play a clip from its beginning. */
  hear(address) {
    alone(() => this.stop());
    this.#clip = new Audio(address);
    this.#clip.play().catch(() => {});
  }

  /** Play a sound from a time (s) on. */
  play(address, from) {
    alone(() => this.stop());
    const audio = (this.#audio = new Audio(address));
    audio.currentTime = from;
    audio.addEventListener("ended", () => this.stop());
    // What was paused before it began is refused late, when another sound may play.
    const refused = () => audio === this.#audio && this.stop();
    audio.play().then(() => requestAnimationFrame(() => this.#step()), refused);
    this.#changed(true);
  }

  stop() {
    this.#clip?.pause();
    this.#audio?.pause();
    this.#audio = null;
    this.#changed(false);
  }

  #step() {
    if (!this.playing) return;
    this.#moved();
    requestAnimationFrame(() => this.#step());
  }
}
