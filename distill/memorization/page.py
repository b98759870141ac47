"""The page of a check: each generated sound beside the training sound it comes nearest to, to see and to hear."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import soundfile
import torch

from distill.audio.invert import griffin_lim
from distill.audio.nearness import LogMel
from distill.audio.space import in_two, side_of
from distill.configs import SpectrogramConfig
from distill.files import write_bytes
from distill.memorization.compare import Comparison, Findings
from distill.memorization.verdict import Verdict
from distill.pictures import spectrogram_image, top_level_db

# The flagged sounds first, then the nearest.
MOST_PAIRS = 12
PIECE_SECONDS = 3.0
# How much of what comes before the nearest place is shown.
LEAD_SECONDS = 1.0

_PEAK = 0.9
_TEMPLATES = Path(__file__).parent


@dataclass(frozen=True)
class _Piece:
    """A part of a sound: its log mel `[n_mels, frames]`, where it begins, in frames, and where it lies in stereo."""

    log_mel: LogMel
    frame: int
    space: LogMel | None


def write_page(
    path: Path,
    findings: Findings,
    verdict: Verdict,
    *,
    title: str,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Write the page, in one file that needs no network; its bytes follow from the findings.

    Args:
        path: the file.
        findings: what was compared.
        verdict: what follows from it.
        title: what was checked.
        step: called between two sounds; it may raise to end the work.

    Raises:
        StorageError: the file cannot be written.
    """
    rest = sorted(
        set(range(len(findings.generated))) - set(verdict.flagged),
        key=lambda index: findings.generated[index].near.distance,
    )
    order = [*verdict.flagged, *rest]
    pairs = []
    for index in order[:MOST_PAIRS]:
        shown = verdict.copies.get(index, findings.generated[index])
        pairs.append(_pair(findings, shown, index in verdict.flagged))
        step()
    left_out = len(order) - len(order[:MOST_PAIRS])
    text = _template("page.html").substitute(
        title=escape(title),
        verdict=verdict.verdict,
        reasons="\n".join(f"<li>{escape(reason)}</li>" for reason in verdict.reasons),
        figures="\n".join(_row(cells) for cells in _figures(verdict.evidence)),
        pairs="\n".join(pairs),
        left_out=f"{left_out} more sounds, less near than these, are not shown." if left_out else "",
    )
    write_bytes(path, text.encode())


def _pair(findings: Findings, each: Comparison, flagged: bool) -> str:
    source = each.near.source
    if source is None:
        return f"<section><h2>{escape(each.sound.name)}</h2><p>It is silent.</p></section>"
    config = findings.spectrogram
    frames = _frames(PIECE_SECONDS, config)
    begin = max(0, each.near.frame - _frames(LEAD_SECONDS, config))
    length = findings.training.frames[source]
    # What lies nearest may be the silence behind a sound: then its end is shown.
    other_begin = max(0, min(each.near.source_frame - (each.near.frame - begin), length - 1))
    other_end = min(other_begin + frames, length)
    place = None if each.sound.space is None else each.sound.space[begin : begin + frames]
    own = _Piece(np.ascontiguousarray(each.sound.log_mel[:, begin : begin + frames]), begin, place)
    # As it was recorded: what people know it by.
    training = findings.training
    other = _Piece(
        training.log_mel(source, other_begin, other_end), other_begin, training.space(source, other_begin, other_end)
    )
    name, other_name = each.sound.name, findings.training.names[source]
    top = max(top_level_db(own.log_mel, config), top_level_db(other.log_mel, config))
    return _template("pair.html").substitute(
        flag="flagged" if flagged else "",
        name=escape(name),
        words=f"distance {each.near.distance:.3f}, longest shared run {each.run.codes} codes, "
        f"nearest at {findings.seconds_of(each.near.frame):.2f} s and "
        f"{findings.seconds_of(each.near.source_frame):.2f} s",
        own=_side(own, name, findings, top),
        other=_side(other, other_name, findings, top),
    )


def _side(piece: _Piece, name: str, findings: Findings, top_db: float) -> str:
    config = findings.spectrogram
    begin, end = (findings.seconds_of(frame) for frame in (piece.frame, piece.frame + piece.log_mel.shape[1]))
    return _template("side.html").substitute(
        name=escape(name),
        begin=f"{begin:.2f}",
        end=f"{end:.2f}",
        width=f"{100 * piece.log_mel.shape[1] / _frames(PIECE_SECONDS, config):.1f}",
        picture=b64encode(spectrogram_image(piece.log_mel, config, top_db=top_db)).decode(),
        sound=b64encode(_flac(piece, config)).decode(),
    )


def _frames(seconds: float, config: SpectrogramConfig) -> int:
    return max(1, round(seconds * config.sample_rate / config.hop_length))


def _flac(piece: _Piece, config: SpectrogramConfig) -> bytes:
    """A piece as FLAC, which has the same bytes for the same samples."""
    padded = np.pad(piece.log_mel, ((0, 0), (0, max(0, 2 - piece.log_mel.shape[1]))))
    samples = griffin_lim(torch.from_numpy(padded)[None], config)[0].numpy()
    if piece.space is not None and len(piece.space):
        samples = in_two(samples, side_of(samples, piece.space, config))
    samples = samples * (_PEAK / max(float(np.abs(samples).max()), 1e-6))
    stream = BytesIO()
    soundfile.write(stream, samples.T, config.sample_rate, format="FLAC", subtype="PCM_16")
    return stream.getvalue()


def _figures(evidence: dict[str, Any]) -> list[list[str]]:
    distances, overlap, runs = evidence["distances"], evidence["code_overlap"], evidence["code_runs"]
    rank, perplexity = evidence["rank_test"], evidence["perplexity"]
    longest = {side: max((each["code_run"]["codes"] for each in evidence[side]), default=None) for side in _SIDES}
    rows = [
        ["usual distance to the training sounds", *_two(distances), f"a copy: below {_number(distances['threshold'])}"],
        ["longest run of shared codes", *_two(longest), f"a copy: above {_number(runs['threshold'])}"],
        [f"usual share of sequences of {overlap['ngram']} codes that are shared", *_two(overlap), ""],
        ["rank test (C_T)", _number(rank["c_t"], "too few sounds"), "", "a hint: below -3"],
    ]
    for level, figures in {"all levels": perplexity, **perplexity.get("per_level", {})}.items():
        sides = f"training {_number(figures.get('train'))}, held out {_number(figures.get('validation'))}"
        rows.append([f"perplexity of the prior, {level.replace('_', ' ')}", sides, "", ""])
    return rows


_SIDES = ("generated", "held_out")


def _two(values: dict[str, Any]) -> list[str]:
    return [_number(values[side], "none") for side in _SIDES]


def _number(value: float | None, missing: str = "unknown") -> str:
    return missing if value is None else f"{value:.4g}"


def _row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _template(name: str) -> Template:
    return Template((_TEMPLATES / name).read_text(encoding="utf-8"))
