"""Forms whose fields are as somebody left them when the tab is loaded again."""

from collections.abc import Mapping
from typing import Any

import gradio as gr

from distill.ui.desk import Desk
from distill.ui.handlers import QUIET
from distill.ui.studio import Studio


class Form:
    """The fields of a tab by their names, which what was chosen is kept by.

    Args:
        name: of the form, on the desk.
        fields: components with the event `input`.
    """

    def __init__(self, name: str, fields: Mapping[str, gr.components.Component]) -> None:
        self.name, self.fields = name, dict(fields)

    @property
    def components(self) -> list[gr.components.Component]:
        """The fields in their order."""
        return list(self.fields.values())

    def keep(self, studio: Studio, *also: Any) -> None:
        """Keep on the desk what is in the fields whenever somebody changes one, and at further events."""
        changed = [field.input for field in self.components]  # type: ignore[attr-defined]
        # What resets a slider is no input.
        changed += [field.release for field in self.components if isinstance(field, gr.Slider)]
        inputs = [studio.desk, *self.components]
        gr.on([*changed, *also], self._keep, inputs, None, trigger_mode="always_last", **QUIET)

    def keep_after(self, event: Any, studio: Studio) -> None:
        """Keep what is in the fields after an event that fills one of them."""
        event.then(self._keep, [studio.desk, *self.components], None, **QUIET)

    def _keep(self, desk: Desk, *values: Any) -> None:
        desk.forms = {**desk.forms, self.name: dict(zip(self.fields, values, strict=True))}

    def change(self, desk: Desk, values: Mapping[gr.components.Component, Any]) -> None:
        """Keep what the page itself put into fields, where it keeps what somebody chose."""
        if kept := desk.forms.get(self.name):
            changed = {name: values[field] for name, field in self.fields.items() if field in values}
            desk.forms = {**desk.forms, self.name: {**kept, **changed}}

    def values_left(self, desk: Desk) -> dict[str, Any]:
        """What was in the fields when the tab was loaded; nothing where nobody had changed one."""
        return desk.left.get(self.name, {})

    def bring_back(self, desk: Desk) -> list[Any]:
        """What brings each field to what was in it."""
        kept = self.values_left(desk)
        return [gr.update(value=kept[name]) if name in kept else gr.skip() for name in self.fields]
