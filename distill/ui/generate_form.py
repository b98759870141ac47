"""The form of the tab Generate: its fields by name, and the request and the order that it stands for."""

from collections.abc import Mapping
from typing import Any

from distill.artifact.manifest import Manifest
from distill.audio.knobs import KNOBS
from distill.generation.export import ExportSettings
from distill.generation.sound_request import Request, request_of
from distill.ui.ask_controls import kind_settings
from distill.ui.bars import length_settings
from distill.ui.generate_controls import CONTINUE, ENDS, FILL, NEW, VARY
from distill.ui.sound_jobs import SoundOrder
from distill.ui.space import space_settings


def order_from(model: str | None, manifest: Manifest, form: Mapping[str, Any], source: Mapping[str, Any]) -> SoundOrder:
    """The order of a filled form.

    Args:
        model: what the page calls the model.
        manifest: the model's.
        form: the fields by name.
        source: `sound`, the uploaded file, and of it `begin`, `end` and `renewed`, the part to make anew.

    Raises:
        UsageError: it cannot be asked for.
    """
    settings = ExportSettings(form["format"], form["sample_rate"] or None, form["bits"] or None)
    request = request_from(manifest, form, source)
    upload = None if form["action"] == NEW else source["sound"]
    return SoundOrder(model or "", request, int(form["count"]), int(form["seed"] or 0), settings, upload)


def request_from(manifest: Manifest, form: Mapping[str, Any], source: Mapping[str, Any]) -> Request:
    """The request of a filled form (see `order_from`).

    Raises:
        UsageError: it cannot be asked for.
    """
    action = form["action"]
    chosen = sampling_from(form, manifest.vqvae_config.num_quantizers)
    chosen |= space_settings(manifest, form["width"], form["mono"], given=action in (CONTINUE, FILL))
    if action == FILL:
        labels = manifest.level_labels
        levels = tuple(labels.index(label) for label in source["renewed"] if label in labels) or None
        part = {"start": source["begin"] or 0.0, "end": source["end"] or 0.0, "levels": levels}
        return request_of({"action": FILL, **part, **chosen})
    if action == VARY:
        return request_of({"action": VARY, "strength": form["strength"], "keep": form["keep"] or None, **chosen})
    natural = form["ending"] == ENDS
    if action == CONTINUE:
        return request_of({"action": CONTINUE, "seconds": form["seconds"], "natural": natural, **chosen})
    length = length_settings(form["bpm"], form["bars"], form["loop"], form["seconds"], natural=natural)
    kind = kind_settings(form["label"], form["ticked"], *(form[name] for name in KNOBS))
    return request_of({"action": NEW, "finish": not form["as_made"], **length, **kind, **chosen})


def sampling_from(form: Mapping[str, Any], levels: int) -> dict[str, Any]:
    """The sampling of a request: one value for all levels, or one for each."""
    values = [form[f"sampling_{number}"] for number in range(5 + 3 * levels)]
    temperature, top_k, top_p, least, single, *each = values
    if not single:
        return {"temperature": temperature, "top_k": int(top_k), "top_p": top_p, "min_p": least}
    return {
        "temperature": tuple(map(float, each[0::3])),
        "top_k": tuple(map(int, each[1::3])),
        "top_p": tuple(map(float, each[2::3])),
        "min_p": least,
    }
