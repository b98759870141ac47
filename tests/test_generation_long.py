"""Long sounds: no seams where their parts meet, and no more memory than short ones."""

import numpy as np
import pytest
import torch
from seams import joints, novelty, seams

from distill.configs import SpectrogramConfig
from distill.generation.generator import Generator, waveform_blocks
from distill.generation.sampling import sample_sequences
from model_example import SIZE, codec, prior


@pytest.mark.parametrize("ends", [False, True], ids=["one sound", "sounds that end"])
def test_a_minute_of_sound_changes_no_more_at_its_joints_than_anywhere(ends: bool) -> None:
    model, samples = prior(), 60 * 48_000
    with torch.no_grad():
        model.head.bias[SIZE] += 0.0 if ends else -50.0
    generator = Generator(codec(), model)
    [sounds] = sample_sequences(model, columns=generator.codec.columns_of(samples), seeds=[5])
    assert (len(sounds) > 1) == ends
    waveform = np.concatenate(list(waveform_blocks(generator, np.concatenate(sounds), samples)))
    for values in novelty(waveform, generator.codec.spectrogram).values():
        by_kind = joints(model, list(map(len, sounds)), len(values))
        assert len(by_kind["next sound"]) == len(sounds) - 1
        assert ends or len(by_kind["prior"]) > 5
        # A new sound begins as loud as it likes.
        places = [place for kind, found in by_kind.items() if kind != "next sound" for place in found]
        found = seams(values, places)
        assert found.joints > (10 if ends else 25)
        # Three standard deviations of the mean of uniform ranks, and of a share of 5 %.
        assert found.percentile < 0.5 + 3 * (1 / 12 / found.joints) ** 0.5
        assert found.share < 0.05 + 3 * (0.05 * 0.95 / found.joints) ** 0.5


@pytest.mark.parametrize("fault", ["click", "gap", "phase", "other sound"])
def test_seams_that_are_there_are_found(fault: str) -> None:
    config, numbers = SpectrogramConfig(), np.random.default_rng(0)
    time = np.arange(30 * config.sample_rate) / config.sample_rate
    samples = np.sin(2 * np.pi * 220 * time) * (1 + 0.5 * np.sin(7 * time)) + numbers.normal(0, 0.01, len(time))
    places = list(range(100, len(time) // config.hop_length, 90))
    for place in places:
        at = place * config.hop_length
        if fault == "click":
            samples[at] += 0.3
        elif fault == "gap":
            samples[at - 2880 : at] = 0
        elif fault == "phase":
            samples[at:] *= -1
        else:
            samples[at : at + 2400] = numbers.normal(0, 0.5, 2400)
    found = [seams(values, places) for values in novelty(samples.astype(np.float32), config).values()]
    assert max(each.share for each in found) > 0.9
