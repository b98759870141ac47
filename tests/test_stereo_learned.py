"""Stereo sounds prepared, learned from and checked, by the stages of the pipeline."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from space_util import RATE, panned, stereo_folder

from command_util import Command
from distill.artifact.model_file import read_manifest, read_model
from distill.artifact.prior_file import read_prior
from distill.audio.mel import MelTransform
from distill.audio.samples import resample
from distill.audio.sound import read_sound
from distill.audio.space import MONO, space_of_sound
from distill.codec.codec import Codec
from distill.codec.load import build_networks
from distill.codes.model import CodesModel
from distill.configs import DataConfig, SpectrogramConfig
from distill.dataset.prepare import prepare
from distill.dataset.scan import scan
from distill.dataset.store import PreparedDataset
from distill.errors import Interrupted, UsageError
from distill.generation.generator import Generator
from distill.generation.remaking import remake
from distill.generation.sound_request import Request, request_of
from distill.generation.sounds import new_sounds
from distill.generation.writing import Destination, produce
from distill.live.events import Event, Listeners, Progress
from distill.live.stop_request import StopRequest
from distill.memorization.compare import compare
from distill.memorization.of_model import CheckSettings, DatasetSounds, findings_of, in_channel
from distill.memorization.sounds import CheckedSound, Silence
from distill.memorization.verdict import judge
from distill.stages import train_prior
from distill.stages.pipeline import STAGES, run_stage
from distill.stages.workspace import Call, Workspace, read_report
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import noise, save, tone

CONFIG = SpectrogramConfig()
PLAIN = DataConfig(speed_semitones=())


@pytest.fixture(scope="module", autouse=True)
def _little_learning() -> Iterator[None]:
    """A space is learned in few steps: enough to be interrupted, and to differ from what it began as."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_prior, "STEPS", 20)
        yield


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model that was trained on stereo sounds by the pipeline's stages."""
    root = tmp_path_factory.mktemp("stereo")
    workspace = make_workspace(root, data={"path": str(stereo_folder(root / "in"))})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    run(workspace, "check_memorization", "train_vocoder", "assemble")
    return workspace


def _model(workspace: Workspace) -> Path:
    return workspace.model("tiny")


def test_prepared_spaces_are_those_of_the_sounds_and_of_their_copies(tmp_path: Path) -> None:
    folder = stereo_folder(tmp_path / "in")
    summary = prepare(folder, tmp_path / "out", DataConfig(speed_semitones=(2.0,)), CONFIG, 0)
    assert summary.stereo is not None
    assert summary.stereo["sounds"] == 10
    dataset, transform = PreparedDataset(tmp_path / "out"), MelTransform(CONFIG)
    assert dataset.stereo
    for row, semitones in enumerate(dataset.segments["semitones"]):
        name, frames = dataset.segment_name(row), int(dataset.segments["frames"].iloc[row])
        samples = read_sound(folder / name).samples
        if len(samples) == 1:
            assert np.allclose(dataset.space(row), np.array(MONO))
            continue
        faster = [resample(np.ascontiguousarray(each), RATE * 2 ** (semitones / 12), RATE) for each in samples]
        channels = np.stack(faster) / np.abs(np.mean(faster, axis=0)).max()
        found, expected = dataset.space(row), space_of_sound(channels.astype(np.float32), transform)
        assert found.shape == (frames, 16, 2)
        apart = np.abs(found - expected[:frames])
        assert np.quantile(apart[..., 0], 0.95) < 0.1
        assert np.quantile(apart[..., 1], 0.95) < 0.01
        part = dataset.space(row, 3, 9)
        assert np.array_equal(part, found[3:9])


def test_a_folder_of_mono_sounds_keeps_no_trace_of_the_stereo_ones_before(tmp_path: Path) -> None:
    stereo_folder(tmp_path / "stereo")
    for number in range(3):
        samples = tone(0.4, 200 * 1.3**number)
        save(tmp_path / "mono" / f"{number}.wav", samples)
        # The same in both channels.
        save(tmp_path / "alike" / f"{number}.wav", np.stack([samples, samples], axis=1))
    prepare(tmp_path / "mono", tmp_path / "first", PLAIN, CONFIG, 0)
    for source in ("stereo", "mono"):
        prepare(tmp_path / source, tmp_path / "second", PLAIN, CONFIG, 0)
    assert bytes_of(tmp_path / "first") == bytes_of(tmp_path / "second")
    assert "stereo" not in json.loads((tmp_path / "first" / "summary.json").read_text())
    prepare(tmp_path / "alike", tmp_path / "third", PLAIN, CONFIG, 0)
    mels = [(tmp_path / place / "mels.npy").read_bytes() for place in ("first", "third")]
    assert mels[0] == mels[1]
    assert not PreparedDataset(tmp_path / "third").stereo


@pytest.mark.parametrize("missing", ["space.json", "space.npy"])
def test_a_damaged_space_is_told_in_one_line(tmp_path: Path, missing: str) -> None:
    prepare(stereo_folder(tmp_path / "in"), tmp_path / "out", PLAIN, CONFIG, 0)
    (tmp_path / "out" / missing).write_bytes(b"nothing")
    with pytest.raises(Exception, match=r"space\.npy is damaged"):
        PreparedDataset(tmp_path / "out").space(0)


def test_a_check_says_how_many_sounds_are_stereo_and_which_cancel(tmp_path: Path, distill: Command) -> None:
    folder = stereo_folder(tmp_path / "in")
    save(folder / "cancels.wav", np.stack([tone(), -0.9 * tone()], axis=1))
    reports = {report.path: report for report in scan(folder)}
    assert reports["mono0.wav"].side_db is None
    assert reports["tone0.wav"].side_db == pytest.approx(0.0, abs=0.1)
    assert reports["wide0.wav"].side_db == pytest.approx(-6.0, abs=0.5)
    said = distill("dataset", "check", str(folder)).out
    assert "Stereo: 11 of 13 sounds" in " ".join(said.split())
    assert "channel 2, the softer, is turned over" in " ".join(said.split())


def test_a_model_of_stereo_sounds_makes_stereo_sounds(learned: Workspace, tmp_path: Path) -> None:
    report = read_report(learned, "train_prior")
    assert report["space"]["stereo_sounds"] == 10
    manifest = read_manifest(_model(learned))
    assert (manifest.minor, manifest.level_labels[-1]) == (3, "Space")
    assert manifest.space_metadata is not None
    assert "learned from 10 sounds" in _model(learned).with_suffix(".md").read_text()
    made = list(produce(_model(learned), Request(seconds=0.5), Destination(tmp_path), count=3))
    assert [each.exported.channels for each in made] == [2, 2, 2]
    assert all(each.codes.shape[2] == len(manifest.level_labels) for each in made)
    for each in made:
        assert each.sidecar is not None
        assert remake(each.sidecar, folder=tmp_path / "again", model=_model(learned)).identical
    # The same codes were drawn for the mix.
    mono = list(produce(_model(learned), Request(seconds=0.5, channels=1), Destination(tmp_path / "mono"), count=3))
    assert [each.exported.channels for each in mono] == [1, 1, 1]
    assert all(np.array_equal(one.codes, two.codes) for one, two in zip(made, mono, strict=True))


def test_a_mono_sound_has_no_space_to_renew(learned: Workspace, tmp_path: Path) -> None:
    sound = save(tmp_path / "mono.wav", tone(1.0, 330.0))
    space = read_manifest(_model(learned)).vqvae_config.num_quantizers
    request = Request(action="fill", start=0.2, end=0.5, levels=(space,))
    with pytest.raises(UsageError, match="no level Space to renew"):
        list(produce(_model(learned), request, Destination(tmp_path / "new"), source=sound))
    none = request.model_copy(update={"levels": ()})
    with pytest.raises(UsageError, match="not among the model's levels"):
        list(produce(_model(learned), none, Destination(tmp_path / "new"), source=sound))


def test_left_and_right_add_up_to_twice_the_mono_sound(learned: Workspace) -> None:
    generator = Generator.load(_model(learned))
    for extra in ({}, {"natural": True}, {"loop": True, "bpm": 120.0, "bars": 1, "seconds": 2.0}):
        found = []
        for channels in (1, 2):
            request = request_of({"seconds": 0.6, "channels": channels, **extra})
            found.append(
                [np.concatenate(list(made.blocks)) for _, made in new_sounds(generator, request, None, [0, 1])]
            )
        for mono, stereo in zip(*found, strict=True):
            assert stereo.shape == (len(mono), 2)
            assert np.allclose(stereo.sum(1), 2 * mono, atol=2e-6)


def test_without_width_both_channels_are_alike_and_with_more_they_differ_more(learned: Workspace) -> None:
    generator = Generator.load(_model(learned))
    sides = []
    for width in (0.0, 0.5, 1.0, 1.5):
        request = request_of({"seconds": 1.0, "width": width})
        made = [np.concatenate(list(made.blocks)) for _, made in new_sounds(generator, request, None, range(4))]
        sides.append([float(np.square(each[:, 0] - each[:, 1]).sum()) for each in made])
    powers = np.array(sides)
    assert not powers[0].any()
    assert powers[2].any()
    assert np.allclose(powers[1], 0.25 * powers[2], rtol=1e-3, atol=1e-9)
    assert np.allclose(powers[3], 2.25 * powers[2], rtol=1e-3, atol=1e-9)


def test_an_interrupted_training_learns_the_same_space(learned: Workspace, tmp_path: Path) -> None:
    again, stop = make_workspace(tmp_path, data={"path": str(learned.root / "in")}), StopRequest()
    run(again, "prepare", "configure", "train_vqvae")
    seen: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.unit == "steps of the space":
            seen.append(event.done)
            if event.done == 8:
                stop.ask()

    with pytest.raises(Interrupted):
        run_stage("train_prior", Call(again, Listeners([listen]), stop))
    assert seen[-1] in (8, 9)
    assert not again.prior.exists()
    run(again, "train_prior")
    assert again.prior.read_bytes() == learned.prior.read_bytes()


def test_a_space_is_learned_where_no_training_sound_is_stereo(tmp_path: Path) -> None:
    """Of the held-out sounds alone one has two channels that differ."""
    for number in range(9):
        save(tmp_path / "in" / f"{number}.wav", tone(0.4, 150 * 1.2**number))
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in")})
    run(workspace, "prepare")
    dataset = PreparedDataset(workspace.prepared)
    name = dataset.segment_name(dataset.segments_of("validation")[0])
    save(tmp_path / "in" / name, panned(tone(0.4, 300), 0.7))
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    space = read_prior(workspace.prior, vqvae_digest=read_model(workspace.vqvae).digest).space
    assert space is not None
    assert np.allclose(space.state["entries"].numpy(), np.array(MONO))


def test_a_long_sound_is_learned_from_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mono for its first half minute lies to the right behind it."""
    # The codebook is made before the first step.
    monkeypatch.setattr(train_prior, "STEPS", 2)
    mono = np.stack([noise(30.0, 1, 24_000)] * 2, axis=1)
    save(tmp_path / "in" / "long.wav", np.concatenate([mono, panned(noise(20.0, 2, 24_000), 0.9)]), 24_000)
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in"), "speed_semitones": []})
    run(workspace, "prepare", "configure", "train_vqvae", "train_prior")
    space = read_prior(workspace.prior, vqvae_digest=read_model(workspace.vqvae).digest).space
    assert space is not None
    assert float(space.state["entries"][..., 0].min()) < -10


@pytest.mark.parametrize("level", [0.1, 0.4, 0.9])
def test_the_same_in_both_channels_is_mono_whatever_the_level(tmp_path: Path, level: float) -> None:
    square = np.where(np.arange(20 * RATE) % 200 < 100, level, -level).astype(np.float32)
    save(tmp_path / "square.wav", np.stack([square, square], axis=1), RATE, subtype="FLOAT")
    [report] = scan(tmp_path)
    assert report.side_db is None


def test_any_number_of_threads_prepares_the_same_spaces(tmp_path: Path) -> None:
    folder = stereo_folder(tmp_path / "in")
    for workers in (1, 4):
        prepare(folder, tmp_path / str(workers), DataConfig(speed_semitones=(-1.0, 2.0)), CONFIG, 0, workers=workers)
    assert bytes_of(tmp_path / "1") == bytes_of(tmp_path / "4")


def test_a_copy_of_one_channel_is_found(tmp_path: Path) -> None:
    """A sound that lies in one channel of a training sound is hidden in its mix."""
    for number in range(8):
        random = np.random.default_rng(number)
        hidden, loud = (
            np.concatenate([tone(0.1, random.uniform(100, 6000), RATE, level) for _ in range(6)])
            for level in (0.2, 0.8)
        )
        save(tmp_path / "in" / f"{number}.wav", np.stack([hidden, loud], axis=1), RATE)
    workspace = make_workspace(tmp_path, data={"path": str(tmp_path / "in"), "speed_semitones": []})
    run(workspace, "prepare", "configure", "train_vqvae")
    dataset, model = PreparedDataset(workspace.prepared), read_model(workspace.vqvae)
    codec = Codec(build_networks(model, workspace.vqvae).vqvae, dataset.spectrogram)
    silence = Silence(codec)
    training, held_out = (
        DatasetSounds(codec, dataset, dataset.segments_of(split)) for split in ("train", "validation")
    )
    names = [name for name in training.names if name.endswith("left channel")]
    assert len(names) == len(dataset.segments_of("train"))
    generated = []
    for row in dataset.segments_of("train")[:4]:
        log_mel = in_channel(dataset.segment(row), dataset.space(row), "left")
        grid = codec.encode_log_mel(log_mel)
        heard = np.maximum(codec.decode_log_mel(grid), 0.0)
        generated.append(CheckedSound("copy", heard, grid, silence.sounding(heard, grid)))
    # A sound that was mixed of it and of something else holds it in one channel.
    hidden = CheckedSound("mixed", *_noise_like(codec, generated[0]), channels=(generated[0],))
    settings: dict[str, Any] = {"spectrogram": dataset.spectrogram, "most_frames": 288}
    findings = compare(generated, training, held_out, silence, **settings)
    assert judge(findings, file_count=8).verdict == "fail"
    found = {findings.training.names[each.near.source or 0] for each in findings.generated}
    assert all(name.endswith("left channel") for name in found)
    # It counts once.
    findings = compare([hidden, *generated], training, held_out, silence, **settings)
    verdict = judge(findings, file_count=8)
    assert verdict.flagged == tuple(range(5))
    assert verdict.copies[0].sound is generated[0]
    assert len(verdict.evidence["generated"]) == 5
    assert all(len(each.channels) == 2 for each in (*findings.held_out, *findings.peers))


def _noise_like(codec: Codec, sound: CheckedSound) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise of a sound's length as the check sees sounds: log mel, codes, and which of these count."""
    log_mel = np.random.default_rng(0).uniform(0, 6, sound.log_mel.shape).astype(np.float32)
    grid = codec.encode_log_mel(log_mel)
    heard = np.maximum(codec.decode_log_mel(grid), 0.0)
    return heard, grid, Silence(codec).sounding(heard, grid)


def test_the_check_compares_the_channels_of_what_lies_to_one_side(learned: Workspace) -> None:
    dataset = PreparedDataset(learned.prepared)
    findings = findings_of(Generator.load(_model(learned)), dataset, CheckSettings(12, 0.5, 1.0, 0))
    apart = [each for each in findings.generated if each.channels]
    assert apart
    assert all(
        [view.sound.name.rpartition(", ")[2] for view in each.channels] == ["left channel", "right channel"]
        for each in apart
    )
    assert any(name.endswith("left channel") for name in findings.training.names)


def test_a_prior_file_without_space_reads_as_before(learned: Workspace, trained: Path) -> None:
    digest = read_model(learned.vqvae).digest
    assert read_prior(learned.prior, vqvae_digest=digest).space is not None
    plain = Workspace(trained)
    assert read_prior(plain.prior, vqvae_digest=read_model(plain.vqvae).digest).space is None
    document = read_manifest(plain.model("tiny")).document()
    assert document["minor"] < 3
    assert not {"space_config", "space_metadata"} & set(document)
    assert CodesModel.load(_model(learned)).codec.labels[-1] == "Space"


def test_where_no_held_out_sound_is_stereo_a_model_is_made_and_its_distances_are_not_known(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, vqvae={"epochs": 1}, prior={"epochs": 1})
    run(workspace, "prepare")
    dataset = PreparedDataset(workspace.prepared)
    learned = dataset.segment_name(int(dataset.segments_of("train")[0]))
    save(tmp_path / "sounds" / learned, panned(tone(0.4, 300), 0.8))
    run(workspace, *STAGES)
    space = read_report(workspace, "train_prior")["space"]
    assert space["stereo_sounds"] == 1
    assert (space["level_db"], space["coherence"]) == (None, None)
    known = read_manifest(_model(workspace)).space_metadata
    assert known is not None
    assert known.level_db is None
