// Cards of sounds: heard on hover, by their waveform and by keys, and dragged out as files.
//
// A card is `.d-sound` with `data-src`, the sound's address, and `data-file`, its name; `data-volume` of at most 1 makes
// it softer. What a key does is the card's button with that `data-act`.

import { play, position, stop } from "./player.js";

const ACTS = { f: "keep", x: "drop", Delete: "drop", r: "rename", c: "codes", m: "more", s: "choose" };
const HOVER = "distill-hover";
let heard = null, hovered = false;

/** Whether sounds are heard when the pointer comes over them. */
export const hovers = () => localStorage.getItem(HOVER) !== "off";
export const setHovers = (on) => localStorage.setItem(HOVER, on ? "on" : "off");

/** Play a card's sound, from a time (s) on. */
export function hear(card, from = 0) {
  const done = () => {
    card.classList.remove("d-heard");
    if (heard?.dataset.src !== card.dataset.src) return;
    heard.classList.remove("d-heard");
    heard = null;
  };
  play(card.dataset.src, { volume: Number(card.dataset.volume ?? 1), from, done, failed: () => card.classList.add("d-unheard") });
  heard = card;
  card.classList.add("d-heard");
  follow(card);
}

/** Show in a card how far its sound is, for as long as it is heard. */
function follow(card) {
  requestAnimationFrame(() => {
    if (heard !== card) return;
    card.style.setProperty("--heard", position().share);
    follow(card);
  });
}

/** Let the one of some new cards that shows the sound which is heard stand for the one that is gone. */
export function adopt(cards) {
  const card = heard && !heard.isConnected && cards.find((each) => each.dataset.src === heard.dataset.src);
  if (!card) return;
  heard = card;
  card.classList.add("d-heard");
  follow(card);
}

/** The card that is heard now, if any. */
export const heardNow = () => heard;

const cardOf = (event) => event.target.closest?.(".d-sound");

document.addEventListener("click", (event) => {
  const card = event.target.closest?.(".d-wave-button") && cardOf(event);
  if (!card) return;
  if (heard === card && !hovered) stop();
  else hear(card);
  hovered = false;
});

document.addEventListener("pointerover", (event) => {
  const card = cardOf(event);
  if (!card || event.pointerType !== "mouse" || event.buttons || card.contains(event.relatedTarget) || !hovers()) return;
  hear(card);
  hovered = true;
});

document.addEventListener("pointerout", (event) => {
  const card = cardOf(event);
  if (!card || card.contains(event.relatedTarget) || !hovered || heard !== card) return;
  stop();
  hovered = false;
});

document.addEventListener("keydown", (event) => {
  const card = event.target;
  if (!card.classList?.contains("d-sound") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " || event.key === "Enter") {
    if (heard === card) stop();
    else hear(card);
    hovered = false;
  } else if (/^Arrow/.test(event.key)) {
    neighbour(card, event.key)?.focus();
  } else if (/^[1-9]$/.test(event.key)) {
    const other = cardsBeside(card)[Number(event.key) - 1];
    if (!other) return;
    other.focus();
    hear(other);
  } else {
    const act = ACTS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const button = act && card.querySelector(`[data-act="${act}"]`);
    if (!button) return;
    button.click();
  }
  event.preventDefault();
});

function cardsBeside(card) {
  return [...card.parentElement.querySelectorAll(":scope > .d-sound")];
}

/** The next card in the direction of an arrow: up and down to the nearest in the next row. */
function neighbour(card, key) {
  const cards = cardsBeside(card), at = cards.indexOf(card);
  if (key === "ArrowLeft") return cards[at - 1];
  if (key === "ArrowRight") return cards[at + 1];
  const { left, top } = card.getBoundingClientRect(), down = key === "ArrowDown";
  const rows = cards.map((each) => [each, each.getBoundingClientRect()])
    .filter(([, box]) => (down ? box.top > top + 1 : box.top < top - 1));
  const near = down ? Math.min(...rows.map(([, box]) => box.top)) : Math.max(...rows.map(([, box]) => box.top));
  return rows.filter(([, box]) => Math.abs(box.top - near) < 2)
    .sort(([, one], [, other]) => Math.abs(one.left - left) - Math.abs(other.left - left))[0]?.[0];
}

document.addEventListener("dragstart", (event) => {
  const card = cardOf(event);
  if (!card) return;
  const address = new URL(card.dataset.src, location.href).href, kind = card.dataset.file.split(".").pop();
  event.dataTransfer.effectAllowed = "copy";
  event.dataTransfer.setData("DownloadURL", `audio/${kind}:${card.dataset.file}:${address}`);
  event.dataTransfer.setData("text/uri-list", address);
});
