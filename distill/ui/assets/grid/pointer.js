// Selecting in a grid with a mouse, a pen or a finger.

/**
 * Let drags select: cells, whole columns on the time axis and the sound, a level on its label.
 *
 * `moved` is called after each change of the selection, `clicked` when a single cell was pressed.
 */
export function selectByPointer({ ruler, sound, cells }, { layout, selection, moved, clicked }) {
  let drag = null;

  const cellAt = (event) => {
    const box = cells.getBoundingClientRect();
    return layout.cell(event.clientX - box.left, event.clientY - box.top);
  };

  const down = (event, canvas) => {
    const { view } = layout, time = canvas !== cells;
    if (!view || event.button) return;
    // A finger on the time axis scrolls.
    if (time && event.pointerType === "touch") return;
    const at = cellAt(event), label = event.clientX - cells.getBoundingClientRect().left < layout.gutter;
    cells.focus({ preventScroll: true });
    event.preventDefault();
    drag = time ? "columns" : label ? "level" : "cells";
    if (drag === "level") {
      const first = at.row - (at.row % view.bands);
      selection.set({ column: 0, row: first }, { column: view.columns - 1, row: first + view.bands - 1 });
    } else if (drag === "columns") {
      const bottom = view.bands * view.levels.length - 1;
      selection.set({ column: at.column, row: 0 }, { column: at.column, row: bottom });
    } else {
      selection.set(event.shiftKey ? selection.anchor : at, at);
    }
    canvas.setPointerCapture(event.pointerId);
    moved();
  };

  const move = (event) => {
    if (!drag || drag === "level") return;
    const { column, row } = cellAt(event);
    selection.set(selection.anchor, { column, row: drag === "cells" ? row : selection.focus.row });
    layout.dragTo(event.clientX);
    moved();
  };

  const up = (event) => {
    const pressed = drag === "cells" && event.type === "pointerup";
    drag = null;
    if (pressed && selection.single) clicked();
  };

  for (const canvas of [cells, ruler, sound]) {
    canvas.addEventListener("pointerdown", (event) => down(event, canvas));
    canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, up);
  }
}
