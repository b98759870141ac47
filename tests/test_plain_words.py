"""Plain words change what they say, within the limits, and nothing else."""

import pytest

from distill.configs import PriorConfig, VQVAEConfig
from distill.errors import UsageError
from distill.live.parameters import Settings, tunable
from distill.ui.plain_words import Word, changes_of

VQVAE, PRIOR = tunable(VQVAEConfig), tunable(PriorConfig)
WEIGHTS = ("weight_full", "weight_half", "weight_quarter")


def test_each_word_moves_its_settings_and_the_weights_keep_their_sum() -> None:
    start = Settings(VQVAEConfig())
    values = start.values()
    sharper, smoother = (changes_of(word, values, VQVAE) for word in ("sharper", "smoother"))
    assert sharper["weight_full"] > values["weight_full"] > smoother["weight_full"]
    assert smoother["weight_quarter"] > values["weight_quarter"] > sharper["weight_quarter"]
    for changes in (sharper, smoother):
        after = start.changed(changes).values()
        assert sum(after[name] for name in WEIGHTS) == pytest.approx(sum(values[name] for name in WEIGHTS))
    assert changes_of("slower", values, VQVAE) == {"max_lr": values["max_lr"] / 2}
    assert changes_of("faster", values, VQVAE) == {"max_lr": values["max_lr"] * 2}


@pytest.mark.parametrize("word", ["sharper", "smoother", "slower", "faster"])
def test_a_word_can_be_said_until_it_goes_no_further(word: Word) -> None:
    settings = Settings(VQVAEConfig())
    said = ""
    for _ in range(200):
        try:
            changes = changes_of(word, settings.values(), VQVAE)
        except UsageError as error:
            said = str(error)
            break
        # Each step is one that the training takes.
        settings = settings.changed(changes)
    assert f"any {word}" in said
    assert settings.values() != Settings(VQVAEConfig()).values()


def test_the_prior_has_no_resolutions() -> None:
    values = Settings(PriorConfig()).values()
    with pytest.raises(UsageError, match="for the VQ-VAE"):
        changes_of("sharper", values, PRIOR)
    assert changes_of("slower", values, PRIOR)["max_lr"] < values["max_lr"]
