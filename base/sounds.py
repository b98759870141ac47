# ruff: noqa: E402
"""Collect and render the sounds of the base into the folder `sounds` beside this file.

    python base/sounds.py

It takes packages of Debian and pyfluidsynth, which docs/explanation/base.md names. Every source and its licence stands
in SOURCES.md. Nothing depends on the time or the machine: notes, voices and recipes are drawn from a generator that is
seeded by the name of the source, and the same packages give the same files.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from distill import instructions

# With wider instructions numpy's sine has other last bits, and one of the sounds another sample.
instructions.use("portable")

import fluidsynth
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import synthesize_sounds as synthesis

RATE = 48_000
PEAK = 0.9
MOST_SECONDS = 2.5
# What so many dB below the peak follows is silence.
END_DB = -80.0
SONIC_PI = Path("/usr/share/sonic-pi/samples")
SONIC_PI_LICENCES = Path("/usr/share/doc/sonic-pi-samples/copyright")
HYDROGEN = Path("/usr/share/hydrogen/data/drumkits")
# The kits among those of Hydrogen that are CC0 and CC-BY.
KITS = ("Audiophob", "rumpf_kit_z01_h2")
SOUNDFONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "musescore": Path("/usr/share/sounds/sf3/MuseScore_General_Full.sf3"),
}
PROGRAMS, PITCHES, DRUM_KEYS, DRUM_BANK = 128, 4, range(27, 88), 128
VOICES = ("en", "en-us", "de", "fr", "es", "it", "pt", "sv", "pl", "cs", "fi", "ja", "sw", "tr", "hu", "la")
WORDS = ("a", "one", "two", "three", "hello", "music", "sound", "night", "tiger", "window", "splash", "echo")
SPOKEN = 100
SYNTHESIZED = 480

Samples = npt.NDArray[np.floating]
Random = np.random.Generator


def main() -> None:
    """Write the sounds of all sources."""
    folder = Path(__file__).parent / "sounds"
    sources = {
        "sonic-pi": sonic_pi(),
        **{f"hydrogen-{kit.split('_')[0].lower()}": hydrogen(kit) for kit in KITS},
        **{name: soundfont(name, path) for name, path in SOUNDFONTS.items()},
        "speech": speech(),
        "synthesis": synthesized(),
    }
    for source, sounds in sources.items():
        (folder / source).mkdir(parents=True, exist_ok=True)
        count = 0
        for name, samples in sounds:
            if (ready := finished(samples)) is not None:
                soundfile.write(folder / source / f"{name}.flac", ready, RATE, subtype="PCM_24")
                count += 1
        sys.stdout.write(f"{source}: {count} sounds\n")


def finished(samples: Samples) -> Samples | None:
    """Mono samples `[n]` with a peak of PEAK, without the silence around them; None where there is nothing else."""
    peak = np.abs(samples).max(initial=0.0)
    if peak < 1e-4:
        return None
    loud = np.flatnonzero(np.abs(samples) > peak * 10 ** (END_DB / 20))
    begin, end = max(0, int(loud[0]) - RATE // 500), min(int(loud[-1]) + 1, int(loud[0]) + round(MOST_SECONDS * RATE))
    kept = samples[begin:end] * (PEAK / peak)
    if len(kept) < RATE // 50:
        return None
    fade = min(len(kept) // 10, RATE // 50)
    kept[len(kept) - fade :] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    return kept


def read(path: Path) -> Samples:
    """A file as mono samples `[n]` at RATE."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    made: Samples = soxr.resample(samples.mean(1), rate, RATE)
    return made


def seeded(name: str) -> Random:
    """The generator of a source."""
    return np.random.default_rng(list(name.encode()))


def sonic_pi() -> Iterator[tuple[str, Samples]]:
    """The samples of Sonic Pi whose own paragraph says CC0."""
    for paragraph in re.split(r"\n\s*\n", SONIC_PI_LICENCES.read_text()):
        if re.search(r"^License: CC0", paragraph, re.MULTILINE):
            for name in re.findall(r"etc/samples/(\w+)\.flac", paragraph):
                yield name, read(SONIC_PI / f"{name}.flac")


def hydrogen(kit: str) -> Iterator[tuple[str, Samples]]:
    """The samples of one of Hydrogen's kits."""
    for path in sorted((HYDROGEN / kit).iterdir()):
        if path.suffix.lower() in {".wav", ".flac", ".aiff"}:
            yield re.sub(r"\W+", "-", path.stem), read(path)


def soundfont(name: str, path: Path) -> Iterator[tuple[str, Samples]]:
    """Notes of every program of a soundfont, and its drums."""
    random = seeded(name)
    synth = fluidsynth.Synth(gain=0.5, samplerate=float(RATE))
    for setting in ("synth.reverb.active", "synth.chorus.active"):
        synth.setting(setting, 0)
    font = synth.sfload(str(path))
    for program in range(PROGRAMS):
        synth.program_select(0, font, 0, program)
        for _ in range(PITCHES):
            key, velocity, held = int(random.integers(28, 97)), int(random.integers(40, 128)), random.uniform(0.05, 1.5)
            yield f"{program:03d}-{key}", note(synth, 0, key, velocity, held)
    synth.program_select(9, font, DRUM_BANK, 0)
    for key in DRUM_KEYS:
        for velocity in (60, 120):
            yield f"drum-{key}-{velocity}", note(synth, 9, key, velocity, 0.3)
    synth.delete()


def note(synth: fluidsynth.Synth, channel: int, key: int, velocity: int, held: float) -> Samples:
    """One note, held for so many seconds, to its end or MOST_SECONDS."""
    synth.noteon(channel, key, velocity)
    parts = [synth.get_samples(round(held * RATE))]
    synth.noteoff(channel, key)
    parts.append(synth.get_samples(round((MOST_SECONDS - held) * RATE)))
    synth.all_sounds_off(channel)
    # What still sounds is not to be heard in the next note.
    synth.get_samples(RATE // 10)
    return np.concatenate(parts).reshape(-1, 2).mean(1) / 32768


def speech() -> Iterator[tuple[str, Samples]]:
    """Words by the voices of eSpeak NG."""
    random = seeded("speech")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "word.wav"
        for index in range(SPOKEN):
            voice, word = random.choice(VOICES), random.choice(WORDS)
            pitch, speed = random.integers(10, 95), random.integers(90, 240)
            command = ["espeak-ng", "-v", str(voice), "-p", str(pitch), "-s", str(speed), "-w", str(path), str(word)]
            subprocess.run(command, check=True)
            yield f"{index:03d}-{voice}-{word}", read(path)


def synthesized() -> Iterator[tuple[str, Samples]]:
    """Drums, bells and strings of random recipes, noises, chirps, FM and impulses, every third in a room."""
    random = seeded("synthesis")
    kinds = (drum, body, string, noises, chirp, modulated, clicks)
    for index in range(SYNTHESIZED):
        kind = kinds[index % len(kinds)]
        samples = kind(random)
        if index % 3 == 0:
            samples = in_room(random, samples)
        yield f"{index:03d}-{kind.__name__}", soxr.resample(samples, synthesis.RATE, RATE)


def between(random: Random, low: float, high: float) -> float:
    """A number whose logarithm is uniform."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def drum(random: Random) -> Samples:
    """A bass drum, snare, hi-hat, clap or tom."""
    seconds = between(random, 0.08, 1.5)
    kind = random.integers(5)
    if kind == 0:
        low = between(random, 35, 80)
        recipe = synthesis.kick(
            seconds, low * between(random, 2, 9), low, between(random, 0.01, 0.06), click=random.uniform(0, 0.4),
            drive=between(random, 0.8, 6),
        )  # fmt: skip
    elif kind == 1:
        recipe = synthesis.snare(
            seconds, between(random, 120, 350), wires=between(random, 0.1, 2), low=between(random, 500, 3000),
            high=between(random, 5000, 18000),
        )  # fmt: skip
    elif kind == 2:
        recipe = synthesis.hat(
            seconds,
            between(random, 250, 600),
            low=between(random, 2500, 8000),
            t60=between(random, 0.05, seconds + 0.1),
        )
    elif kind == 3:
        room = random.uniform(0, 1)
        recipe = synthesis.clap(
            max(seconds, 0.2), between(random, 600, 2500), spread=between(random, 0.004, 0.02), room=room
        )
    else:
        recipe = synthesis.tom(seconds, between(random, 50, 300))
    return recipe(random)


def body(random: Random) -> Samples:
    """A bell or bar."""
    modes = (synthesis.CHURCH_BELL, synthesis.HAND_BELL, synthesis.TUBE, synthesis.MARIMBA, synthesis.XYLOPHONE,
             synthesis.KALIMBA, synthesis.MEMBRANE)[random.integers(7)]  # fmt: skip
    return synthesis.struck(
        between(random, 0.2, 2.5), between(random, 60, 2500), modes, beat=random.uniform(0, 3),
        strike=random.uniform(0, 0.6), bright=between(random, 500, 8000),
    )(random)  # fmt: skip


def string(random: Random) -> Samples:
    """A plucked string."""
    return synthesis.plucked(
        between(random, 0.3, 2.5), between(random, 40, 1500), position=random.uniform(0.05, 0.5),
        bright=between(random, 400, 16000),
    )(random)  # fmt: skip


def noises(random: Random) -> Samples:
    """Noise in a band, which rises and dies away."""
    t = synthesis.times(between(random, 0.05, 2.5))
    low = between(random, 20, 8000)
    noise = synthesis.noise(random, len(t), low, low * between(random, 1.2, 20))
    rise = np.minimum(1, t / between(random, 0.0003, 0.3))
    return noise * rise * synthesis.decay(t, between(random, 0.05, 6))


def chirp(random: Random) -> Samples:
    """A sine or a saw that glides."""
    t = synthesis.times(between(random, 0.05, 2))
    start, end = between(random, 30, 8000), between(random, 30, 8000)
    turns = np.cumsum(start * (end / start) ** (t / t[-1])) / synthesis.RATE
    wave = np.sin(2 * np.pi * turns)
    return np.tanh(between(random, 0.5, 8) * wave) * synthesis.decay(t, between(random, 0.1, 6))


def modulated(random: Random) -> Samples:
    """Frequency modulation whose index dies away."""
    t = synthesis.times(between(random, 0.1, 2.5))
    carrier, ratio = between(random, 40, 2000), random.choice([0.5, 1, 1.41, 2, 3, 3.5, 7.1])
    index = between(random, 0.3, 12) * synthesis.decay(t, between(random, 0.1, 4))
    wave = np.sin(2 * np.pi * carrier * t + index * np.sin(2 * np.pi * carrier * ratio * t))
    return wave * np.minimum(1, t / between(random, 0.0005, 0.1)) * synthesis.decay(t, between(random, 0.2, 6))


def clicks(random: Random) -> Samples:
    """Impulses through a resonance, one or a few."""
    t = synthesis.times(between(random, 0.1, 1.2))
    out = np.zeros_like(t)
    for _ in range(random.integers(1, 6)):
        out[random.integers(len(t) // 2)] = random.uniform(0.2, 1)
    ringing = np.sin(2 * np.pi * between(random, 100, 12000) * t) * synthesis.decay(t, between(random, 0.003, 0.3))
    return np.fft.irfft(np.fft.rfft(out, 2 * len(t)) * np.fft.rfft(ringing, 2 * len(t)), 2 * len(t))[: len(t)]


def in_room(random: Random, samples: Samples) -> Samples:
    """Samples with the echoes of a room: noise that dies away, the highs first."""
    t = synthesis.times(between(random, 0.1, 1.5))
    seconds = t[-1]
    tail = synthesis.burst(random, t, 100, 2500, seconds) + synthesis.burst(random, t, 2500, 12000, seconds / 2)
    size = len(samples) + len(t)
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    dry = np.pad(samples, (0, size - len(samples))) / (np.abs(samples).max() + 1e-9)
    return dry + random.uniform(0.05, 0.6) * wet / (np.abs(wet).max() + 1e-9)


if __name__ == "__main__":
    main()
