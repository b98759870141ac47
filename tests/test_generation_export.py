"""Sound files: formats, true sample rates, dither, level, tags, whole files."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.audio.sound import read_sound
from distill.errors import StorageError, UsageError
from distill.generation.export import FORMATS, SAMPLE_RATES, Exported, ExportSettings, Tags, export
from sounds_util import noise, tone

TAGS = Tags(title="bell 3", software="distill", comment="model bells abc, seed 3")
ALL = [(name, rate, bits or None) for name in FORMATS for rate in SAMPLE_RATES for bits in FORMATS[name].subtypes]
HELD = [each for each in ALL if each[:2] != ("mp3", 96_000)]


def write(
    path: Path, samples: np.ndarray, rate: int = 48_000, *, bits: str | None = None, to: int | None = None, **more: bool
) -> Exported:
    settings = ExportSettings(path.suffix, to, bits)
    blocks = [samples[first : first + 1000] for first in range(0, len(samples), 1000)]
    return export(path, blocks, rate, settings=settings, tags=TAGS, seed=3, **more)


@pytest.mark.parametrize(("format", "rate", "bits"), HELD)
def test_each_format_is_really_resampled_and_does_not_clip(
    tmp_path: Path, format: str, rate: int, bits: str | None
) -> None:
    path = tmp_path / f"a.{format}"
    # Noise at full scale overshoots when it is resampled or coded.
    loud = np.clip(3 * noise(0.5, rate=48_000, level=1.0), -1, 1)
    done = write(path, loud, bits=bits, to=rate)
    read = read_sound(path)
    assert (read.sample_rate, read.samples.shape) == (rate, (1, rate // 2)) == (done.sample_rate, (1, done.frames))
    peak = float(np.abs(read.samples).max())
    assert done.peak_db == pytest.approx(20 * np.log10(peak), abs=2e-3)
    assert peak <= (10 ** (-0.1 / 20) if FORMATS[format].lossy else 10 ** (-1 / 20) + 2**-14)
    assert done.gain_db < -0.9


@pytest.mark.parametrize("rate", [44_100, 96_000])
def test_a_tone_keeps_its_frequency(tmp_path: Path, rate: int) -> None:
    time = np.arange(48_000) / 48_000
    write(tmp_path / "a.wav", (0.5 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32), to=rate)
    samples = read_sound(tmp_path / "a.wav").samples[0]
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert int(spectrum.argmax()) == 1000
    spectrum[990:1011] = 0
    assert spectrum.max() < 1e-4 * np.abs(np.fft.rfft(samples)).max()


@pytest.mark.parametrize(
    ("format", "bits"), [("wav", "16"), ("wav", "24"), ("wav", "32f"), ("flac", "16"), ("flac", "24")]
)
def test_equal_sounds_are_equal_files_however_they_come(tmp_path: Path, format: str, bits: str) -> None:
    samples = tone(0.4, rate=48_000)
    settings = ExportSettings(format, 44_100, bits)
    for name, size in (("a", 700), ("b", 10_000)):
        blocks = [samples[first : first + size] for first in range(0, len(samples), size)]
        export(tmp_path / f"{name}.{format}", blocks, 48_000, settings=settings, tags=TAGS, seed=3)
    assert (tmp_path / f"a.{format}").read_bytes() == (tmp_path / f"b.{format}").read_bytes()


def test_dither_makes_the_error_of_16_bits_independent_of_the_sound(tmp_path: Path) -> None:
    step = 2.0**-15
    quiet = (0.4 * step * np.sin(2 * np.pi * 440 * np.arange(96_000) / 48_000)).astype(np.float32)
    write(tmp_path / "a.wav", quiet, bits="16", level_given=True)
    read = read_sound(tmp_path / "a.wav").samples[0]
    error = (read - quiet) / step
    # Without dither the sound would be rounded to silence. Rounding adds 1/12 to the 1/6 of a triangle of 2 steps.
    assert error.var() == pytest.approx(1 / 4, rel=0.05)
    assert abs(np.corrcoef(quiet, error)[0, 1]) < 0.02
    assert abs(np.corrcoef(quiet, error**2)[0, 1]) < 0.02
    export(tmp_path / "b.wav", [quiet], 48_000, settings=ExportSettings(bits="16"), tags=TAGS, seed=4, level_given=True)
    assert not np.array_equal(read, read_sound(tmp_path / "b.wav").samples[0])


@pytest.mark.parametrize("format", ["wav", "flac"])
@pytest.mark.parametrize("bits", [16, 24])
def test_samples_that_the_format_holds_stay_what_they_are(tmp_path: Path, format: str, bits: int) -> None:
    whole = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (5000, 2))
    samples = (whole / 2.0 ** (bits - 1)).astype(np.float32)
    done = write(tmp_path / f"a.{format}", samples, bits=str(bits), level_given=True)
    assert done.gain_db == 0
    assert np.array_equal(read_sound(tmp_path / f"a.{format}").samples.T, samples)


def test_floats_keep_a_given_level_beyond_full_scale_and_integers_become_softer(tmp_path: Path) -> None:
    samples = 2 * tone(0.2, rate=48_000, level=1.0)
    loud = float(np.abs(samples).max())
    assert write(tmp_path / "a.wav", samples, bits="32f", level_given=True).gain_db == 0
    assert np.array_equal(read_sound(tmp_path / "a.wav").samples[0], samples)
    done = write(tmp_path / "b.wav", samples, level_given=True)
    assert done.gain_db == pytest.approx(-20 * np.log10(loud), abs=0.02)
    assert done.peak_db == pytest.approx(0, abs=0.02)


def test_silence_stays_silence_and_quiet_sounds_stay_quiet(tmp_path: Path) -> None:
    done = write(tmp_path / "a.wav", np.zeros(4800, np.float32), bits="16")
    assert (done.gain_db, done.peak_db) == (0, None)
    assert not read_sound(tmp_path / "a.wav").samples.any()
    assert write(tmp_path / "b.wav", tone(level=0.01)).gain_db == pytest.approx(24)


@pytest.mark.parametrize("format", FORMATS)
def test_tags_are_in_the_file(tmp_path: Path, format: str) -> None:
    path = tmp_path / f"a.{format}"
    write(path, tone())
    with soundfile.SoundFile(path) as file:
        tags = file.copy_metadata()
    assert (tags["title"], tags["comment"]) == (TAGS.title, TAGS.comment)
    assert format == "mp3" or tags["software"].startswith("distill")


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    block = tone(1.0, rate=48_000)
    settings = ExportSettings("flac", 44_100, "16")
    peaks = []
    for seconds in (100, 200):
        tracemalloc.start()
        try:
            blocks = (block for _ in range(seconds))
            done = export(tmp_path / "a.flac", blocks, 48_000, settings=settings, tags=TAGS, seed=0)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert done.frames == seconds * 44_100 == soundfile.info(tmp_path / "a.flac").frames
    # A second takes 176 kB.
    assert peaks[1] < peaks[0] + 1_000_000


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("opus",), "unknown format opus; known: wav, flac, ogg, mp3"),
        (("wav", 8000), "the sample rate must be one of 44100, 48000, 96000 Hz, not 8000"),
        (("wav", None, "8"), "bits must be one of 16, 24, 32f, not 8"),
        (("flac", None, "32f"), "flac has 16 or 24 bits"),
        (("ogg", None, "16"), "ogg has no bits to choose"),
        (("mp3", 96_000), "mp3 cannot hold 1 channel at 96000 Hz"),
    ],
)
def test_what_a_format_does_not_have_is_refused(values: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ExportSettings(*values)  # type: ignore[arg-type]


def test_a_sound_that_the_format_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mp3 cannot hold 6 channels"):
        write(tmp_path / "a.mp3", np.zeros((1000, 6), np.float32))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="file"):
        write(tmp_path / "file" / "a.wav", tone())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from distill.errors import StorageError\n"
        "from distill.generation.export import FORMATS, ExportSettings, Tags, export\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "samples = np.random.default_rng(0).normal(0, 0.2, 480_000).astype(np.float32)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "for name in FORMATS:\n"
        "    path = Path(sys.argv[1]) / f'a.{name}'\n"
        "    try:\n"
        "        export(path, [samples], 48_000, settings=ExportSettings(name), tags=Tags('a', 'b', 'c'), seed=0)\n"
        "    except StorageError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert [line[:12] for line in done.stdout.splitlines()] == ["cannot write"] * len(FORMATS)
    assert not list(tmp_path.iterdir())
