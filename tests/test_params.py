"""Parameters: ranges, nearest names, `auto`, settings from the command line."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from distill.configs import LiveConfig, PriorConfig, VQVAEConfig
from distill.errors import UsageError
from distill.params import Params, overrides, parse_params, read_params, resolve, with_settings, write_params
from distill.runs.inputs import Inputs, settings_of
from distill.stages.planning import planned, sizes_for

# Those of params.yaml.
_SECTIONS = [type(section) for _, section in Params() if isinstance(section, BaseModel)]


def test_everything_is_automatic_by_default() -> None:
    assert overrides(Params().vqvae) == {}
    assert overrides(Params().prior) == {}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("vqvae.dropot=0.1", "did you mean dropout?"),
        ("vqave.dropout=0.1", "did you mean vqvae?"),
        ("epochs=3", "as in vqvae.epochs or prior.epochs"),
        ("vqvae.dropout=1.5", "vqvae.dropout: Input should be less than 1"),
        ("vqvae.dropout=much", "vqvae.dropout: Input should be a valid number"),
        ("vqvae.learning_rate=.nan", "finite number"),
        ("vqvae.num_quantizers=5", "less than or equal to 4"),
        ("run.seed=-1", "greater than or equal to 0"),
        ("run.threads=0", "threads must lie between 1 and 256"),
        ("run.precision=fp8", "'auto', 'fp32' or 'bf16'"),
        ("prior.column_cuts=3", "prior.column_cuts: Input should be 1, 2, 4, 8 or 16"),
        ("vocoder.inverse=best", "vocoder.inverse: Input should be"),
        ("spectrogram.hop_length=2048", "must not be above half of n_fft (2048)"),
        ("spectrogram.n_mels=256", "lower it to 208, or raise n_fft"),
        ("spectrogram.n_fft=1024", "lower it to 96, or raise n_fft"),
        ("spectrogram.n_fft=2047", "spectrogram.n_fft: Input should be a multiple of 2"),
        ("data.speed_semitones=[0]", "must lie between -24 and 24"),
        ("model.name=../x", "model.name: use letters, digits, . _ -"),
        ("nothing=0.1", "expected section.key=value"),
        ("vqvae.dropout", "expected section.key=value"),
        ("vqvae.dropout=[", "is not a value"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        with_settings(Params(), [setting])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_applied() -> None:
    params = with_settings(Params(), ["vqvae.learning_rate=1e-3", "run.seed=7", "prior.epochs=auto"])
    assert overrides(params.vqvae) == {"learning_rate": 1e-3}
    assert params.run.seed == 7
    assert overrides(params.prior) == {}


def test_the_preset_sharp_has_half_the_hop_unless_another_one_is_given(tmp_path: Path) -> None:
    usual = Params().spectrogram.hop_length
    sharp = with_settings(Params(), ["run.preset=sharp"])
    assert sharp.spectrogram.hop_length == usual // 2
    assert parse_params({"run": {"preset": "sharp"}}, where="here") == sharp
    assert parse_params({"run": {"preset": "sharp"}, "spectrogram": {"floor_db": -30}}, where="here") == with_settings(
        sharp, ["spectrogram.floor_db=-30"]
    )
    assert with_settings(sharp, ["run.preset=tuned"]) == Params()
    assert with_settings(sharp, ["spectrogram.hop_length=128"]).spectrogram.hop_length == 128
    write_params(tmp_path / "params.yaml", sharp)
    assert read_params(tmp_path / "params.yaml") == sharp


@given(st.integers(0, 2**31 - 1), st.floats(0, 0.9), st.sampled_from([2, 3, 4, "auto"]))
def test_parameters_round_trip_through_the_file(seed: int, dropout: float, levels: int | str) -> None:
    values = {"run": {"seed": seed}, "vqvae": {"dropout": dropout, "num_quantizers": levels}}
    params = parse_params(values, where="test")
    text = yaml.safe_dump(params.model_dump(mode="json", by_alias=True))
    assert parse_params(yaml.safe_load(text), where="test") == params


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    params = with_settings(Params(), ["model.name=bells", "vqvae.epochs=3"])
    write_params(tmp_path / "params.yaml", params)
    assert read_params(tmp_path / "params.yaml") == params


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema: 2", "newer"),
        ("vqvae: 3", "vqvae"),
        ("a: [", "is not YAML"),
        ("a: 2024-02-30", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        ("a: !!bool maybe", "is not YAML"),
        ("a: !!timestamp never", "is not YAML"),
        ("a: !!int ''", "is not YAML"),
        (f"a: {'9' * 5000}", "is not YAML"),
        ("- 1", "expected sections"),
        ("\x00", "is not YAML"),
        ("extra: {}", "unknown parameter extra"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UsageError, match=said) as error:
        read_params(tmp_path / "params.yaml")
    assert "\n" not in str(error.value)


def test_parameters_that_are_gone_are_passed_over_where_they_had_no_effect() -> None:
    values = {"prior": {"token_noise": "auto", "label_smoothing": 0.0, "hidden": 64}}
    assert parse_params(values, where="test") == parse_params({"prior": {"hidden": 64}}, where="test")
    assert resolve(PriorConfig, values["prior"] | {"token_noise": 0}, where="test") == PriorConfig(hidden=64)
    with pytest.raises(UsageError, match=r"prior\.token_noise is no parameter any more.*leave it out"):
        with_settings(Params(), ["prior.token_noise=0.1"])
    with pytest.raises(UsageError, match=r"vqvae\.token_noise"):
        with_settings(Params(), ["vqvae.token_noise=0.1"])


def test_weights_must_sum_to_about_one() -> None:
    with pytest.raises(ValueError, match="sum to"):
        VQVAEConfig(weight_full=0.9, weight_half=0.3)
    with pytest.raises(ValueError, match="must divide"):
        PriorConfig(hidden=256, heads=3)


@pytest.mark.parametrize("config", [*_SECTIONS, LiveConfig], ids=lambda config: config.__name__)
def test_every_parameter_is_described(config: type[BaseModel]) -> None:
    for name, field in config.model_fields.items():
        assert field.description, name
        assert not field.is_required(), name


def test_who_does_the_work_makes_no_other_run(tmp_path: Path) -> None:
    there = parse_params({"run": {"dask": "tcp://host:8786"}}, where="here")
    assert Inputs(tmp_path, "kit", there).root == Inputs(tmp_path, "kit", Params()).root
    assert settings_of(there) == ('run.dask="tcp://host:8786"',)
    # A run folder that names no cluster has the params.yaml that it had.
    write_params(tmp_path / "params.yaml", Params())
    assert "dask" not in (tmp_path / "params.yaml").read_text()
    with pytest.raises(UsageError, match=r"run\.dask"):
        parse_params({"run": {"dask": "host"}}, where="here")


def test_a_chunk_too_short_for_the_loss_is_one_line() -> None:
    short = {"chunk_seconds": 0.1}
    with pytest.raises(UsageError, match=r"^here: data\.chunk_seconds: 0\.1 s are 3 frames at .*2048, .* needs 4"):
        parse_params({"data": short, "spectrogram": {"n_fft": 4096, "hop_length": 2048}}, where="here")
    assert parse_params({"data": short, "spectrogram": {"hop_length": 1024}}, where="here").data.chunk_seconds == 0.1


def test_what_is_quoted_is_a_word() -> None:
    params = with_settings(Params(), ['model.description="2024"', "vqvae.learning_rate=1e-3"])
    assert params.model.description == "2024"
    assert params.vqvae.learning_rate == 1e-3
    assert with_settings(Params(), settings_of(params)) == params


def test_a_hop_length_other_than_that_of_the_preset_is_a_setting() -> None:
    preset = 'run.preset="sharp"'
    for hop, listed in ((512, {preset, "spectrogram.hop_length=512"}), (256, {preset})):
        params = with_settings(Params(), ["run.preset=sharp", f"spectrogram.hop_length={hop}"])
        assert params.spectrogram.hop_length == hop
        assert set(settings_of(params)) == listed
        assert with_settings(Params(), settings_of(params)) == params


def test_the_preset_sharp_plans_four_levels_unless_others_are_given() -> None:
    for settings, levels in ((["run.preset=sharp"], 4), (["run.preset=sharp", "vqvae.num_quantizers=2"], 2), ([], 3)):
        params = with_settings(Params(), settings)
        assert planned(params, sizes_for([1.0] * 8, params)).vqvae.num_quantizers == levels


def test_a_context_of_less_than_two_columns_is_refused_before_anything_is_trained() -> None:
    params = with_settings(Params(), ["prior.context=64", "vqvae.num_quantizers=4", "spectrogram.n_mels=192"])
    with pytest.raises(UsageError, match=r"^the context \(64 codes\) must hold two columns of 48 codes"):
        planned(params, sizes_for([1.0] * 8, params))
