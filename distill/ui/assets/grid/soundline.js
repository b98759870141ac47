// The sound of a grid above its cells, on the same axis of time: a waveform and a spectrogram in one canvas.

const WAVE = 40, GAP = 4, PICTURE = 64; // px
const FULL = 100; // what the highest value of a waveform stands for

export const HEIGHT = WAVE + GAP + PICTURE + GAP;

export class SoundLine {
  #wave = null;
  #image = null;
  #redraw;

  constructor(redraw) {
    this.#redraw = redraw;
  }

  /** Draw this from now on: lowest and highest values in turn, and the address of the spectrogram. */
  show({ wave, picture }) {
    const image = new Image();
    image.addEventListener("load", () => {
      [this.#wave, this.#image] = [wave, image];
      this.#redraw();
    });
    image.src = picture;
  }

  clear() {
    this.#wave = this.#image = null;
  }

  /** Draw it where the columns begin (`x`) over their `width`, right of the gutter, with what is selected. */
  draw(canvas, { x, width, gutter, selected, look }) {
    const context = canvas.getContext("2d"), wide = canvas.clientWidth;
    context.clearRect(0, 0, wide, HEIGHT);
    context.font = `10.5px ${look.font}`;
    context.fillStyle = look.quiet;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText("waveform", gutter - 10, WAVE / 2);
    context.fillText("spectrum", gutter - 10, WAVE + GAP + PICTURE / 2);
    context.save();
    context.beginPath();
    context.rect(gutter, 0, wide - gutter, HEIGHT);
    context.clip();
    if (this.#image) {
      this.#drawWave(context, { x, width, from: gutter, to: wide }, look.text);
      context.drawImage(this.#image, x, WAVE + GAP, width, PICTURE);
    } else {
      context.textAlign = "left";
      context.fillText("How it sounds is drawn in a moment …", gutter + 8, WAVE / 2);
    }
    context.strokeStyle = look.accent;
    context.globalAlpha = 0.8;
    context.strokeRect(selected[0] + 0.5, 0.5, Math.max(1, selected[1] - selected[0] - 1), HEIGHT - GAP - 1);
    context.restore();
  }

  #drawWave(context, { x, width, from, to }, colour) {
    const points = this.#wave.length / 2, each = width / points;
    const first = Math.max(0, Math.floor((from - x) / each)), last = Math.min(points, Math.ceil((to - x) / each));
    context.fillStyle = colour;
    for (let point = first; point < last; point++) {
      const [low, high] = [this.#wave[2 * point], this.#wave[2 * point + 1]];
      const top = (WAVE / 2) * (1 - high / FULL), tall = Math.max(1, ((high - low) / FULL) * (WAVE / 2));
      context.fillRect(x + point * each, top, Math.max(each, 0.6), tall);
    }
  }
}
