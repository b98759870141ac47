// What the terms of the loss are called and which colour each has, wherever it is shown.

const KNOWN = {
  l1: ["absolute error", "#dc2626"],
  full: ["squared error", "#ea580c"],
  half: ["at half resolution", "#fb923c"],
  quarter: ["at quarter resolution", "#fed7aa"],
  commitment: ["hold to the codes", "#06b6d4"],
  cross_entropy: ["next code", "#0284c7"],
};
const GRADIENT_LIKE = "#9333ea";
const OTHERS = ["#0ea5e9", "#3b82f6", "#6366f1", "#14b8a6"];

/** A term's name for people. */
export const labelOf = (name) => (KNOWN[name] ? `${KNOWN[name][0]} (${name})` : name);

/** A term's colour; the same name always has the same one. */
export function colourOf(name) {
  if (KNOWN[name]) return KNOWN[name][1];
  if (/grad|edge|slope|tilt/.test(name)) return GRADIENT_LIKE;
  const sum = [...name].reduce((total, letter) => total + letter.codePointAt(0), 0);
  return OTHERS[sum % OTHERS.length];
}
