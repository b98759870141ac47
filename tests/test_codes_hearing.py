"""Hearing codes: entries, parts, whole codebooks, and what an edit changed."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codes_util import edits, grid, grids, model
from distill.codes.edits import Freeze, SetCode
from distill.codes.playback import Entry, entries, hear, hear_entries, render, rerender
from distill.codes.selection import Selection
from distill.codes.sound import decode
from distill.errors import UsageError
from distill.models.grid import SILENT, decode_grid
from model_example import BANDS, LEVELS, SIZE


@settings(max_examples=10)
@given(st.data())
def test_an_edit_is_heard_as_if_the_whole_were_decoded(data: st.DataObject) -> None:
    start = data.draw(grids(most=10))
    before = render(model(), start)
    assert np.array_equal(before.samples, decode(model(), start))
    after = data.draw(edits(start)).apply(start)
    found = rerender(model(), before, after)
    whole = render(model(), after)
    np.testing.assert_allclose(found.log_mel, whole.log_mel, atol=1e-4)
    assert found.samples.shape == whole.samples.shape
    assert np.isfinite(found.samples).all()
    first, last = found.renewed
    rest = len(found.samples) - last
    assert np.array_equal(found.samples[:first], before.samples[:first])
    assert np.array_equal(found.samples[last:], before.samples[len(before.samples) - rest :])
    if np.array_equal(after.codes, start.codes):
        assert found.renewed == (0, 0)


def test_hearing_a_cell_again_costs_its_neighbourhood(monkeypatch: pytest.MonkeyPatch) -> None:
    start = grid(60)
    before = render(model(), start)
    code = int(start.codes[30, 2, 0] + 1) % SIZE
    after = SetCode(selection=Selection(columns=(30, 31), bands=(2,), levels=(0,)), code=code).apply(start)
    decoded: list[int] = []
    plain = torch.nn.Module.__call__

    def watching(module: torch.nn.Module, *arguments: Any, **options: Any) -> Any:
        if module is model().codec.vqvae.decoder:
            decoded.append(arguments[0].shape[-1])
        return plain(module, *arguments, **options)

    monkeypatch.setattr(torch.nn.Module, "__call__", watching)
    found = rerender(model(), before, after)
    column = model().codec.column_samples
    assert found.renewed == (28 * column, 33 * column)
    assert decoded == [9]


def test_the_sound_of_an_edit_is_as_near_to_its_spectrogram_as_that_of_the_whole() -> None:
    codec = model().codec
    start = grid(24)
    after = SetCode(selection=Selection(columns=(12, 13)), code=1).apply(start)
    found, whole = rerender(model(), render(model(), start), after), render(model(), after)
    first, last = (each // codec.spectrogram.hop_length for each in found.renewed)

    def error(samples: np.ndarray) -> float:
        heard = codec.mel.log_mel(torch.from_numpy(samples)).numpy()[:, first:last]
        return float(np.sqrt(np.mean((heard - whole.log_mel[:, first:last]) ** 2)))

    assert error(found.samples) < 1.1 * error(whole.samples)


def test_a_stretch_that_is_made_anew_is_made_with_the_frame_behind_it() -> None:
    codec, start = model().codec, grid(24)
    before = render(model(), start)
    found = rerender(model(), before, SetCode(selection=Selection(columns=(12, 13)), code=1).apply(start))
    first, last = (each // codec.column_samples for each in found.renewed)
    begin, end = first - 1, last + 1
    known = before.samples[begin * codec.column_samples : end * codec.column_samples].copy()
    known[codec.column_samples : -codec.column_samples] = np.nan
    made = codec.waveform(found.log_mel[:, 16 * begin : 16 * end + 1], known)
    renewed = found.samples[found.renewed[0] : found.renewed[1]]
    np.testing.assert_allclose(made[codec.column_samples : -codec.column_samples], renewed, atol=1e-5)


def test_an_entry_is_heard_with_the_other_levels_silent_and_not_with_their_code_0() -> None:
    vqvae = model().codec.vqvae
    books = vqvae.quantizer.codebooks
    codes = torch.full((1, 3, BANDS, LEVELS), SILENT)
    codes[..., 1] = 5
    alone = books[1, 5].view(1, -1, 1, 1).expand(1, -1, BANDS, 3)
    with torch.inference_mode():
        expected = vqvae.decode(alone, (16 * BANDS, 48))[:, 0]
        with_zero = vqvae.decode(alone + books[0, 0].view(1, -1, 1, 1), (16 * BANDS, 48))[:, 0]
    assert torch.allclose(decode_grid(vqvae, codes), expected, atol=1e-5)
    assert not torch.allclose(decode_grid(vqvae, codes), with_zero, atol=1e-2)


def test_nothing_silent_is_decoded_as_ever() -> None:
    codes = torch.from_numpy(grid(4).codes.copy())[None]
    whole = decode_grid(model().codec.vqvae, codes)
    mixed = torch.cat([codes, torch.full_like(codes, SILENT)])
    assert torch.allclose(decode_grid(model().codec.vqvae, mixed)[:1], whole, atol=1e-4)


def only(entry: Entry) -> np.ndarray:
    """A column of the grid that holds an entry in every band and nothing else."""
    codes = np.full((1, BANDS, LEVELS), SILENT)
    codes[..., entry.level] = entry.code
    return codes


def test_a_whole_codebook_is_heard_in_one_go_each_entry_as_alone() -> None:
    every = entries(model())
    assert len(every) == LEVELS * SIZE
    heard = list(hear_entries(model(), every, columns=1))
    assert len(heard) == len(every)
    assert {each.shape for each in heard} == {(model().codec.column_samples,)}
    codec = model().codec
    decoded = codec.decode_log_mels([only(each) for each in every], with_silence=True)
    # A number of the decoder is a sum of at most so many, and a batch may be added up in another order.
    terms = max(weight[0].numel() for weight in codec.vqvae.decoder.parameters() if weight.ndim == 4)
    rounding = terms * np.finfo(np.float32).eps * np.abs(decoded).max()
    for number in (0, 7, SIZE + 3):
        [single] = codec.decode_log_mels([only(every[number])], with_silence=True)
        np.testing.assert_allclose(single, decoded[number], atol=rounding)
        # What is heard of bits that differ follows from the inverse, which is the same for both.
        [alone] = hear_entries(model(), [every[number]], columns=1)
        assert np.array_equal(alone, codec.column_waveform(single))
        assert np.array_equal(heard[number], codec.column_waveform(decoded[number]))
    [some] = hear_entries(model(), [Entry(0, 3)], columns=1, bands=[2])
    assert not np.allclose(some, heard[3], atol=1e-3)
    assert entries(model(), 1) == every[SIZE:]


@pytest.mark.parametrize(
    ("wanted", "options", "words"),
    [
        (Entry(LEVELS, 0), {}, "no code 0 on level 2"),
        (Entry(0, SIZE), {}, f"no code {SIZE} on level 0"),
        (Entry(0, -1), {}, "no code -1"),
        (Entry(0, 0), {"columns": 0}, "1 to 64 columns"),
        (Entry(0, 0), {"columns": 65}, "1 to 64 columns"),
        (Entry(0, 0), {"bands": []}, "no choice"),
        (Entry(0, 0), {"bands": [BANDS]}, "no choice"),
    ],
)
def test_entries_that_do_not_exist(wanted: Entry, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        hear_entries(model(), [wanted], **options)


def test_hearing_a_part_alone() -> None:
    start, column = grid(5), model().codec.column_samples
    assert np.array_equal(hear(model(), start), decode(model(), start))
    assert hear(model(), start, Selection(columns=(2, 3))).shape == (column,)
    one_level = hear(model(), start, Selection(levels=(0,)))
    changed = grid(5, seed=9).codes.copy()
    changed[..., 0] = start.codes[..., 0]
    assert np.array_equal(one_level, hear(model(), start.with_codes(changed), Selection(levels=(0,))))
    assert not np.allclose(one_level, decode(model(), start), atol=1e-3)
    frozen = Freeze(levels=(0,)).apply(start)
    assert np.array_equal(hear(model(), frozen, Selection(levels=(0,))), one_level)
    assert np.array_equal(hear(model(), frozen), hear(model(), start))
    for wrong in (Selection(columns=(5, 6)), Selection(columns=(1, 1)), Selection(bands=()), Selection(levels=(2,))):
        with pytest.raises(UsageError):
            hear(model(), start, wrong)
