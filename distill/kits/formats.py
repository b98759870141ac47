"""A kit as samplers read it: SFZ, Hydrogen's drum kits, and presets of Decent Sampler."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from distill.kits.pads import Pad

HYDROGEN = "http://www.hydrogen-music.org/drumkit"
# A folder of sounds, and so a label, may have them in its name.
_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Instrument:
    """A pad with its sound files.

    Attributes:
        pad: where it lies.
        layers: from the softest touch to the hardest; in each the names of the files that come in turns.
    """

    pad: Pad
    layers: tuple[tuple[str, ...], ...]

    def touches(self, highest: int) -> list[tuple[int, int, tuple[str, ...]]]:
        """Each layer with the first and the last velocity that plays it, from 1 to `highest`."""
        edges = [round(place * highest / len(self.layers)) for place in range(len(self.layers) + 1)]
        return [(low + 1, high, files) for low, high, files in zip(edges[:-1], edges[1:], self.layers, strict=True)]


def sfz(name: str, instruments: Sequence[Instrument]) -> str:
    """The kit for players of SFZ; sounds of choked pads cut each other off."""
    lines = [f"// {name}", "", "<global>", "loop_mode=one_shot", ""]
    for instrument in instruments:
        pad = instrument.pad
        lines += [f"// {pad.name}", "<group>", f"key={pad.note}"]
        if pad.choked:
            lines += ["group=1", "off_by=1", "off_mode=fast"]
        for low, high, files in instrument.touches(127):
            for place, file in enumerate(files, 1):
                turns = f" seq_length={len(files)} seq_position={place}" if len(files) > 1 else ""
                lines.append(f"<region> sample={file} lovel={low} hivel={high}{turns}")
        lines.append("")
    return "\n".join(lines)


def hydrogen(name: str, instruments: Sequence[Instrument], *, info: str, licence: str) -> str:
    """The kit as `drumkit.xml`, by the schema of Hydrogen 1.2."""
    root = Element("drumkit_info", {"xmlns": HYDROGEN})
    words = {"name": name, "author": "distill", "info": info, "license": licence, "image": "", "imageLicense": licence}
    for tag, text in words.items():
        SubElement(root, tag).text = text
    component = SubElement(SubElement(root, "componentList"), "drumkitComponent")
    for tag, text in (("id", "0"), ("name", "Main"), ("volume", "1")):
        SubElement(component, tag).text = text
    listed = SubElement(root, "instrumentList")
    for number, instrument in enumerate(instruments):
        pad = instrument.pad
        element = SubElement(listed, "instrument")
        chosen = "ROUND_ROBIN" if max(map(len, instrument.layers)) > 1 else "VELOCITY"
        values = {
            "id": number, "name": pad.name, "volume": 1, "isMuted": "false", "isSoloed": "false", "pan": 0,
            "pitchOffset": 0, "randomPitchFactor": 0, "gain": 1, "applyVelocity": "true", "filterActive": "false",
            "filterCutoff": 1, "filterResonance": 0, "Attack": 0, "Decay": 0, "Sustain": 1, "Release": 1000,
            "muteGroup": 0 if pad.choked else -1, "midiOutChannel": -1, "midiOutNote": pad.note,
            "isStopNote": "false", "sampleSelectionAlgo": chosen, "isHihat": -1, "lower_cc": 0, "higher_cc": 127,
            "FX1Level": 0, "FX2Level": 0, "FX3Level": 0, "FX4Level": 0,
        }  # fmt: skip
        for tag, value in values.items():
            SubElement(element, tag).text = str(value)
        sounds = SubElement(element, "instrumentComponent")
        for tag, text in (("component_id", "0"), ("gain", "1")):
            SubElement(sounds, tag).text = text
        highest = 1000
        for low, high, files in instrument.touches(highest):
            for file in files:
                layer = SubElement(sounds, "layer")
                reach = {"min": (low - 1) / highest, "max": high / highest}
                for tag, value in {"filename": file, **reach, "gain": 1, "pitch": 0}.items():
                    SubElement(layer, tag).text = f"{value:g}" if isinstance(value, float) else str(value)
    return _written(root)


def decent(instruments: Sequence[Instrument]) -> str:
    """The kit as a preset of Decent Sampler."""
    root = Element("DecentSampler", {"minVersion": "1.0.0"})
    groups = SubElement(
        root, "groups", {"attack": "0", "decay": "0", "sustain": "1", "release": "2", "trigger": "attack"}
    )
    for instrument in instruments:
        pad = instrument.pad
        choking = {"tags": "choked", "silencedByTags": "choked", "silencingMode": "fast"} if pad.choked else {}
        for low, high, files in instrument.touches(127):
            turns = {"seqMode": "round_robin", "seqLength": str(len(files))} if len(files) > 1 else {}
            group = SubElement(groups, "group", {"name": pad.name, **choking, **turns})
            for place, file in enumerate(files, 1):
                note = str(pad.note)
                keys = {"rootNote": note, "loNote": note, "hiNote": note, "loVel": str(low), "hiVel": str(high)}
                seq = {"seqPosition": str(place)} if turns else {}
                SubElement(group, "sample", {"path": file, **keys, **seq})
    return _written(root)


def _written(root: Element) -> str:
    ElementTree.indent(root)
    text = _NOT_IN_XML.sub("", ElementTree.tostring(root, encoding="unicode"))
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'
