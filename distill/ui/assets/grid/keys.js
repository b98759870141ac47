// What keys do in a grid.

export const HELP = [
  ["Arrows", "go from cell to cell; with Shift the selection grows"],
  ["Page up, Page down", "to the level above or below"],
  ["Home, End", "to the first or last column"],
  ["Enter", "hear the selected cells alone"],
  ["Space", "play from the selection on, or stop"],
  ["+ and −", "the next code, the code before"],
  ["Ctrl+A, Escape", "select everything, one cell"],
  ["Ctrl+Z, Ctrl+Shift+Z", "undo, redo"],
];

const withControl = (event) => event.ctrlKey || event.metaKey;

/** The columns and rows by which a key moves the focus; nothing if it moves nothing. */
function movement(key, { columns, bands }) {
  return {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
    PageUp: [0, -bands], PageDown: [0, bands], Home: [-columns, 0], End: [columns, 0],
  }[key];
}

/** Do what a key asks of a grid with `move`, `all`, `one`, `act` and `step`; false: the key is not for it. */
export function handleKey(event, view, { move, all, one, act, step }) {
  if (event.altKey) return false;
  if (withControl(event)) return event.key.toLowerCase() === "a" && run(all);
  const by = movement(event.key, view);
  if (by) return run(() => move(by, event.shiftKey));
  const keys = {
    Escape: one, Enter: () => act("hear"), " ": () => act("play"), "+": () => step(1), "-": () => step(-1),
  };
  return Object.hasOwn(keys, event.key) && run(keys[event.key]);
}

function run(action) {
  action();
  return true;
}

/** `undo` or `redo`, if an event is the key for it. */
export function historyAct(event) {
  if (!withControl(event) || event.altKey) return null;
  const key = event.key.toLowerCase();
  if (key === "y" || (key === "z" && event.shiftKey)) return "redo";
  return key === "z" ? "undo" : null;
}
