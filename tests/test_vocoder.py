"""The vocoder: its spectra, its losses, its training, its place in the model file, and what is used without it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import artifact_example
import model_example
from distill.artifact.architecture import VocoderArchitecture
from distill.artifact.manifest import VocoderMetadata
from distill.artifact.model_file import read_manifest, read_model, write_model
from distill.artifact.vocoder_file import VocoderFile, read_vocoder, write_vocoder
from distill.audio import invert as inversion
from distill.audio.mel import MelTransform, mel_filters
from distill.codec.codec import Codec
from distill.codes.edits import SetCode
from distill.codes.model import CodesModel
from distill.codes.playback import render, rerender
from distill.codes.selection import Selection
from distill.codes.sound import decode
from distill.configs import Inverse, SpectrogramConfig, VocoderConfig
from distill.dataset.store import PreparedDataset
from distill.dataset.waveforms import waveforms
from distill.errors import ArtifactError, DataError, Interrupted, UsageError
from distill.generation.generator import generate
from distill.live.events import Event, StepDone
from distill.live.stop_request import StopRequest
from distill.models.stft_losses import magnitudes, multi_resolution, spectral_convergence
from distill.models.vocoder import Spectrum, Vocoder, invert, waveform_of
from distill.params import parse_params
from distill.stages.workspace import Workspace, read_report
from distill.training import checkpoint
from distill.training.inverses import INVERSES
from model_example import load_codec
from pipeline_util import bytes_of, make_workspace, run
from sounds_util import noise

CONFIG = SpectrogramConfig()
ODD = SpectrogramConfig(sample_rate=16_000, n_fft=512, hop_length=100, n_mels=32)
TINY = {
    "enabled": True,
    "hidden": 16,
    "blocks": 1,
    "epochs": 2,
    "steps_per_epoch": 3,
    "batch_size": 4,
    "segment_frames": 32,
    "checkpoint_interval": 1,
}
BEFORE = ("prepare", "configure", "train_vqvae", "train_prior", "check_memorization")


def vocoder(config: SpectrogramConfig = CONFIG) -> Vocoder:
    """With corrections that are far from none."""
    torch.manual_seed(3)
    network = Vocoder(16, 2, config).eval()
    with torch.no_grad():
        network.magnitude.weight.normal_(0, 0.3)
    return network


def tone(samples: int, config: SpectrogramConfig = CONFIG) -> torch.Tensor:
    """A sine with noise, `[1, samples]`."""
    times = torch.arange(samples) / config.sample_rate
    hiss = torch.rand(samples, generator=torch.Generator().manual_seed(5)) - 0.5
    return (0.5 * torch.sin(2 * torch.pi * 700 * times) + 0.2 * hiss)[None]


@pytest.mark.parametrize("config", [CONFIG, ODD], ids=["usual", "odd"])
def test_a_sound_comes_back_from_its_own_spectrum(config: SpectrogramConfig) -> None:
    sound = tone(40 * config.hop_length, config)
    window = torch.hann_window(config.n_fft)
    spectrum = torch.stft(sound, config.n_fft, config.hop_length, window=window, return_complex=True).transpose(1, 2)
    magnitude = spectrum.abs()
    back = waveform_of(Spectrum(magnitude, spectrum / magnitude.clamp_min(1e-12)), config)
    assert back.shape == sound.shape
    torch.testing.assert_close(back, sound, atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", [CONFIG, ODD], ids=["usual", "odd"])
def test_whatever_the_network_says_the_bands_keep_most_of_their_power(config: SpectrogramConfig) -> None:
    sound = tone(40 * config.hop_length, config)
    transform = MelTransform(config)
    power = transform.power(sound)
    with torch.no_grad():
        spectrum = vocoder(config)(transform.from_power(power))
    torch.testing.assert_close(spectrum.phase.abs(), torch.ones_like(spectrum.magnitude), atol=1e-3, rtol=0)
    found = (spectrum.magnitude.square() @ mel_filters(config)).transpose(1, 2)
    loud = power > 1
    error = (10 * (found[loud] / power[loud]).log10()).abs()
    assert error.mean() < 1.5


def test_a_magnitude_loss_hears_no_sign_and_grows_with_the_error() -> None:
    true = torch.stack([torch.from_numpy(noise(0.2, seed)).float() for seed in range(2)])
    assert all(float(term) == pytest.approx(0, abs=1e-5) for term in multi_resolution(-true, true))
    some, more = (multi_resolution(true + 10 * step * true.flip(0), true) for step in (0.01, 0.1))
    assert all(0 < float(little) < float(much) for little, much in zip(some, more, strict=True))
    found = magnitudes(true, 1024)
    torch.testing.assert_close(spectral_convergence(found / 2, found), torch.full((2,), 0.5), atol=0.01, rtol=0)


@pytest.mark.parametrize("inverse", INVERSES)
def test_an_inverse_gives_the_same_sound_alone_in_a_batch_and_again(inverse: Inverse) -> None:
    log_mels = MelTransform(CONFIG).log_mel(torch.cat([tone(9000), tone(9000).flip(1) * 0.3]))
    network = vocoder()
    together = invert(log_mels, CONFIG, inverse=inverse, vocoder=network)
    assert together.shape == (2, 17 * 512)
    for index in range(2):
        alone = invert(log_mels[index : index + 1], CONFIG, inverse=inverse, vocoder=network)
        assert torch.equal(alone[0], together[index])


@pytest.mark.parametrize("inverse", INVERSES)
def test_known_samples_stay(inverse: Inverse) -> None:
    log_mel = MelTransform(CONFIG).log_mel(tone(9000))
    known = torch.full((1, 17 * 512), torch.nan)
    known[0, :3000] = tone(3000)[0]
    made = invert(log_mel, CONFIG, inverse=inverse, vocoder=vocoder(), known=known)
    assert torch.equal(made[0, :3000], known[0, :3000])
    assert torch.isfinite(made).all()


def test_the_vocoder_in_pieces_is_the_vocoder_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    log_mel = MelTransform(CONFIG).log_mel(tone(300 * 512))
    network = vocoder()
    whole = invert(log_mel, CONFIG, inverse="vocoder", vocoder=network)
    monkeypatch.setattr(inversion, "PIECE_FRAMES", 128)
    torch.testing.assert_close(invert(log_mel, CONFIG, inverse="vocoder", vocoder=network), whole, atol=1e-4, rtol=0)


def test_an_inverse_that_needs_a_vocoder_says_so() -> None:
    with pytest.raises(ValueError, match="needs a vocoder"):
        invert(torch.zeros(1, 128, 4), CONFIG, inverse="vocoder")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which all stages before the vocoder have run."""
    workspace = make_workspace(tmp_path_factory.mktemp("vocoder"))
    run(workspace, *BEFORE)
    return workspace


def again(before: Workspace, root: Path, **changes: Any) -> Workspace:
    """A workspace with other parameters of the vocoder, and the outputs of the stages before it."""
    root.mkdir()
    for name in ("sounds", "prepared", "config", "reports", "trained"):
        (root / name).mkdir()
        for path in (before.root / name).iterdir():
            if "vocoder" in path.name:
                continue
            (root / name / path.name).write_bytes(path.read_bytes())
    return make_workspace(root, vocoder={**TINY, **changes})


@pytest.fixture(scope="module")
def trained(before: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = again(before, tmp_path_factory.mktemp("trained") / "w", inverse="vocoder")
    run(workspace, "train_vocoder", "assemble")
    return workspace


def test_the_waveforms_are_those_that_the_spectrograms_were_made_of(before: Workspace, tmp_path: Path) -> None:
    dataset = PreparedDataset(before.prepared)
    transform = MelTransform(dataset.spectrogram)
    for split in ("train", "validation"):
        variants = split == "train"
        originals = dataset.segments_of(split)
        rows = originals + sorted(set(dataset.segments_of(split, variants=variants)) - set(originals))
        sounds = waveforms(dataset, before.root / "sounds", split, tmp_path, variants=variants)
        assert len(sounds) == len(rows)
        for index, row in enumerate(rows):
            sound = sounds.part(index)
            assert np.abs(sound).max() == pytest.approx(1)
            np.testing.assert_allclose(transform.log_mel(torch.tensor(sound)), dataset.segment(row), atol=0.02)


def test_waveforms_are_bounded_and_a_sound_that_has_gone_is_named(before: Workspace, tmp_path: Path) -> None:
    dataset = PreparedDataset(before.prepared)
    assert len(waveforms(dataset, before.root / "sounds", "train", tmp_path / "one", most_seconds=0.01)) == 1
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="has gone"):
        waveforms(dataset, tmp_path / "none", "train", tmp_path / "two")
    assert not (tmp_path / "two" / "train.npy").exists()


def test_waveforms_are_made_once_and_a_damaged_file_is_named(before: Workspace, tmp_path: Path) -> None:
    dataset, source, kept = PreparedDataset(before.prepared), before.root / "sounds", tmp_path / "kept"
    made = waveforms(dataset, source, "train", kept)
    again = waveforms(dataset, tmp_path, "train", kept)
    assert again.lengths == made.lengths
    assert all(np.array_equal(made.part(index), again.part(index)) for index in range(len(made)))
    assert np.array_equal(made.part(1, 5, 9), made.part(1)[5:9])
    (kept / "train.npy").write_bytes((kept / "train.npy").read_bytes()[:1000])
    with pytest.raises(ArtifactError, match="is damaged"):
        waveforms(dataset, source, "train", kept)


def test_codes_by_hand_are_heard_by_the_inverse_of_the_file(trained: Workspace) -> None:
    path = trained.model("tiny")
    model, codec = CodesModel.load(path), load_codec(path)
    assert model.codec.inverse == codec.inverse == "vocoder"
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, (12, codec.bands, codec.levels))
    grid = model.grid(codes)
    made = decode(model, grid)
    log_mel = codec.decode_log_mel(codes)
    assert np.array_equal(made, codec.waveform(np.concatenate([log_mel, log_mel[:, -1:]], axis=1)))
    plain = replace(model, codec=Codec(model.codec.vqvae, codec.spectrogram))
    assert not np.allclose(made, decode(plain, grid), atol=1e-3)
    before = render(model, grid)
    after = rerender(model, before, SetCode(selection=Selection(columns=(6, 7)), code=1).apply(grid))
    first, last = after.renewed
    assert 0 < first < last < len(made)
    assert np.array_equal(after.samples[:first], before.samples[:first])
    assert np.array_equal(after.samples[last:], before.samples[last:])


def test_switched_off_it_leaves_no_trace_in_the_model(before: Workspace) -> None:
    report = run(before, "train_vocoder")
    assert report == {"schema": 1, "enabled": False, "inverse": "griffin-lim"}
    run(before, "assemble")
    manifest = read_manifest(before.model("tiny"))
    document = manifest.document()
    assert document["minor"] == 0
    assert not {"inverse", "vocoder_config", "vocoder_metadata"} & set(document)
    assert "train_vocoder" not in manifest.lineage.code_versions
    assert "vocoder" not in manifest.lineage.parameters
    codec = load_codec(before.model("tiny"))
    assert (codec.inverse, codec.vocoder) == ("griffin-lim", None)


def test_the_model_file_holds_the_vocoder_and_uses_the_inverse_that_it_names(
    before: Workspace, trained: Workspace
) -> None:
    run(before, "train_vocoder", "assemble")
    model = read_model(trained.model("tiny"))
    metadata = model.manifest.vocoder_metadata
    assert metadata is not None
    assert set(metadata.inverses) == set(INVERSES)
    assert (model.manifest.inverse, model.manifest.document()["minor"]) == ("vocoder", 1)
    assert model.manifest.lineage.parameters["vocoder"]["hidden"] == 16  # type: ignore[index,call-overload]
    codec = load_codec(trained.model("tiny"))
    log_mel = np.ascontiguousarray(PreparedDataset(before.prepared).segment(0))
    expected = invert(torch.from_numpy(log_mel)[None], codec.spectrogram, inverse="vocoder", vocoder=codec.vocoder)
    assert np.array_equal(codec.waveform(log_mel), expected[0].numpy())
    [new], [old] = (generate(each.model("tiny"), seconds=0.5, seed=1) for each in (trained, before))
    assert np.array_equal(new.grid, old.grid)
    assert not np.array_equal(new.samples, old.samples)
    assert "vocoder" in trained.model("tiny").with_suffix(".md").read_text()


def test_equal_inputs_give_equal_bytes_also_after_an_interruption(
    before: Workspace, trained: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, stop = again(before, tmp_path / "w", inverse="vocoder"), StopRequest()
    events: list[Event] = []

    class Stopping(list[Event]):
        def append(self, event: Event) -> None:
            super().append(event)
            if isinstance(event, StepDone) and event.step == 4:
                stop.ask()

    events = Stopping()
    with pytest.raises(Interrupted):
        run(other, "train_vocoder", events=events, stop=stop)
    assert not other.vocoder.exists()
    run(other, "train_vocoder", "assemble")
    assert not [record for record in caplog.records if record.name == checkpoint.__name__]
    first, second = bytes_of(trained.root), bytes_of(other.root)
    names = [name for name in first if name.startswith(("trained", "history", "reports", "models"))]
    assert all(first[name] == second[name] for name in names)


def test_a_training_starts_from_the_vocoder_of_the_base_and_says_so(
    before: Workspace, trained: Workspace, tmp_path: Path
) -> None:
    base = trained.model("tiny")

    def started(name: str, **vocoder: Any) -> tuple[Any, dict[str, torch.Tensor]]:
        """Report and weights of a training that hardly changes what it starts from."""
        still = {"learning_rate": 1e-5, "epochs": 1, "steps_per_epoch": 1}
        other = again(before, tmp_path / name)
        make_workspace(other.root, vqvae={"base": str(base)}, vocoder={**TINY, **still, **vocoder})
        report = run(other, "train_vocoder", "assemble") and read_report(other, "train_vocoder")
        model = read_model(other.model("tiny"))
        assert model.vocoder_state is not None
        its = model.manifest.lineage.parameters["vocoder"]
        assert isinstance(its, dict)
        assert its.get("base") == report.get("base")
        return report, model.vocoder_state

    known = read_model(base)
    assert known.vocoder_state is not None
    report, state = started("based")
    assert report["base"] == known.digest
    assert all(torch.allclose(state[name], value, atol=1e-4) for name, value in known.vocoder_state.items())
    # One of another size is no start.
    report, state = started("larger", hidden=24)
    assert "base" not in report
    # A damaged one is one line.
    damaged = tmp_path / "damaged.distill"
    lacking = {name: value for name, value in known.vocoder_state.items() if name != "norm.weight"}
    write_model(damaged, known.manifest, known.vqvae_state, known.prior_state, lacking)
    base = damaged
    with pytest.raises(ArtifactError, match=r"damaged\.distill does not fit its own configuration: .*norm\.weight"):
        started("damaged")


def test_it_learns(before: Workspace, tmp_path: Path) -> None:
    workspace = again(before, tmp_path / "w", epochs=3, steps_per_epoch=12, hidden=32, warmup_fraction=0.0)
    events: list[Event] = []
    run(workspace, "train_vocoder", events=events)
    losses = [sum(event.terms.values()) for event in events if isinstance(event, StepDone)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10])


def test_the_cheapest_loss_needs_no_phases(before: Workspace, tmp_path: Path) -> None:
    none = {"weight_convergence": 0, "weight_log_magnitude": 0, "weight_mel": 0}
    workspace = again(before, tmp_path / "w", epochs=1, steps_per_epoch=1, **none)
    events: list[Event] = []
    run(workspace, "train_vocoder", events=events)
    assert next(event for event in events if isinstance(event, StepDone)).terms.keys() == {"head"}


def test_no_weight_at_all_is_refused() -> None:
    weights = {f"weight_{name}": 0 for name in ("convergence", "log_magnitude", "mel", "head")}
    with pytest.raises(UsageError, match="loss weights"):
        parse_params({"vocoder": weights}, where="params.yaml")


def with_vocoder(path: Path, network: Vocoder) -> Path:
    manifest = model_example.manifest(with_prior=False)
    document = {
        **dict(manifest),
        "inverse": "vocoder",
        "vocoder_config": VocoderArchitecture(hidden=16, blocks=2),
        "vocoder_metadata": VocoderMetadata(),
    }
    state = model_example.vqvae().state_dict()
    write_model(path, type(manifest).model_validate(document), state, None, network.state_dict())
    return path


def test_a_damaged_vocoder_is_named(tmp_path: Path) -> None:
    network = vocoder()
    with torch.no_grad():
        network.magnitude.bias.fill_(torch.nan)
    codec = load_codec(with_vocoder(tmp_path / "nan.distill", network))
    with pytest.raises(ArtifactError, match="not finite"):
        codec.waveform(np.ones((128, 16), np.float32))
    with pytest.raises(ArtifactError, match="does not fit"):
        load_codec(with_vocoder(tmp_path / "wide.distill", Vocoder(24, 2, CONFIG)))


def test_weights_and_configuration_belong_together(tmp_path: Path) -> None:
    state, plain = artifact_example.vqvae_state(), artifact_example.manifest()
    with pytest.raises(ValueError, match="belong together"):
        write_model(tmp_path / "m.distill", plain, state, None, {"a": torch.zeros(1)})
    with pytest.raises(ValueError, match="no vocoder_config"):
        artifact_example.manifest(inverse="vocoder")
    with pytest.raises(ValueError, match="belong together"):
        artifact_example.manifest(vocoder_config={"hidden": 16, "blocks": 1})


def test_a_vocoder_of_another_vqvae_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vocoder.safetensors"
    config = VocoderArchitecture(hidden=16, blocks=2)
    write_vocoder(path, VocoderFile(config, VocoderMetadata(), "vocoder", "ab" * 32, vocoder().state_dict()))
    found = read_vocoder(path, vqvae_digest="ab" * 32)
    assert found is not None
    assert (found.config, found.inverse) == (config, "vocoder")
    with pytest.raises(ArtifactError, match="another VQ-VAE"):
        read_vocoder(path, vqvae_digest="cd" * 32)
    write_vocoder(path, None)
    assert read_vocoder(path, vqvae_digest="cd" * 32) is None


def test_the_default_is_off() -> None:
    assert not VocoderConfig().enabled
