// The view of the tab Train: what happens, curves, codebooks, previews, the verdict.

import { h, put, short } from "./dom.js";
import { levels, light, progress, stateBadge, titleOf, warnings } from "./parts.js";
import { usage } from "./usage.js";

export class Training {
  #top = h("div");
  #stages = h("ol", { class: "d-stages" });
  #vqvae = new Figures("It learns to rebuild your sounds (VQ-VAE)");
  #prior = new Figures("It learns what follows what in them (prior)");
  #verdict = h("div");
  element = h("div", { class: "d-live" }, this.#top, this.#stages, this.#vqvae.element, this.#prior.element, this.#verdict);

  async read(state, tell) {
    const now = await state(null);
    const of = async (stage) => (now.training?.stage === stage ? now : await state(stage)).training;
    put(this.#top, [now.state, now.stage, now.work, now.reason, now.training?.step, now.training?.eta_seconds, now.expected], () => [
      h("p", { class: "d-headline" }, stateBadge(now.state), h("strong", {}, now.run)),
      progress(now),
      now.state === "stopped" && now.reason ? h("p", { class: "d-warning" }, now.reason) : null,
      now.model ? h("p", {}, `The model “${now.model}” is written: it is in the library.`) : null,
    ]);
    put(this.#stages, [now.stages, now.state], () => now.stages.map(({ title, state: at }) =>
      h("li", { class: `d-stage d-is-${at}`, "aria-current": at === "running" ? "step" : null },
        title, h("span", { class: "d-hidden" }, `, ${at}`))));
    this.#vqvae.show(now.trainings.includes("train_vqvae") ? await of("train_vqvae") : null, now.state);
    this.#prior.show(now.trainings.includes("train_prior") ? await of("train_prior") : null, now.state);
    put(this.#verdict, [now.memorization, now.state], () => verdict(now.memorization));
    tell(`${now.run}: ${now.state}, ${titleOf(now)}`);
  }
}

class Figures {
  #warnings = h("div");
  #chart = document.createElement("distill-chart");
  #levels = h("div");
  #previews = h("div");
  #usage = h("div");

  constructor(title) {
    this.element = h("section", { class: "d-panel", hidden: true }, h("h3", {}, title),
      this.#warnings, this.#chart, this.#levels, this.#previews, this.#usage);
  }

  show(training) {
    this.element.hidden = !training;
    if (!training) return;
    this.#chart.curves = curves(training);
    put(this.#warnings, training.warnings, () => warnings(training.warnings));
    put(this.#levels, training.levels, () => training.verdict
      ? [h("h4", {}, "Building blocks (codebooks): ", light(training.verdict)), levels(training.levels)] : []);
    put(this.#previews, training.previews, () => training.previews.length
      ? [h("h4", {}, `Sounds kept aside (held-out), rebuilt after epoch ${training.previews[0].epoch}`), training.previews.map(preview)] : []);
    put(this.#usage, [training.usage, training.state], () => training.usage && training.verdict
      ? [h("h4", {}, "How often the finished model uses each code"), usage(training.usage, training.levels.map((row) => row.label))]
      : []);
  }
}

function curves({ history, stage, threshold }) {
  const pick = (name, label, colour, dashed = false) =>
    (history[name] ? [{ name: label, values: history[name], colour, dashed }] : []);
  if (stage === "train_prior") {
    return {
      title: "Choices left open (perplexity)", unit: "epoch", x: history.epoch,
      series: [...pick("train_perplexity", "training", "#64748b"), ...pick("validation_perplexity", "kept aside (held-out)", "#0d9488")],
      level: threshold ? { name: `below ${short(threshold)} in training: it may learn them by heart (memorize)`, value: threshold } : null,
    };
  }
  return {
    title: "Error (loss)", unit: "epoch", x: history.epoch, level: null, log: true,
    series: [
      ...pick("train_loss", "training", "#64748b"), ...pick("validation_loss", "kept aside (held-out)", "#2563eb"),
      ...pick("validation_commitment", "distance to the building blocks (commitment)", "#16a34a", true),
    ],
  };
}

function preview({ epoch, number, picture, original, reconstruction }) {
  const player = (label, source) => h("label", { class: "d-audio" }, label,
    h("audio", { controls: true, preload: "metadata", src: source, "aria-label": `${label} ${number + 1}` }));
  return h("div", { class: "d-preview" },
    h("img", { class: "d-picture", src: `${picture}?epoch=${epoch}`, loading: "lazy",
      alt: `Spectrograms of the sound kept aside ${number + 1} and of its reconstruction after epoch ${epoch}` }),
    h("div", { class: "d-pair" }, player("original", original), player("reconstruction", reconstruction)));
}

function verdict(memorization) {
  if (!memorization) return [];
  const colour = { pass: "green", warn: "yellow", fail: "red" }[memorization.verdict];
  return h("section", { class: "d-panel" }, h("h3", {}, "Does it copy? "),
    light({ light: colour, words: `${memorization.words} (${memorization.verdict})` }),
    h("ul", {}, memorization.reasons.map((reason) => h("li", {}, reason))),
    memorization.page ? h("details", {}, h("summary", {}, "The evidence: each sound beside the nearest of yours, to see and to hear"),
      h("iframe", { src: memorization.page, class: "d-frame", loading: "lazy", title: "Evidence of the check for copies" })) : null);
}
