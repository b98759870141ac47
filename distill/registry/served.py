"""A registered model as MLflow runs it: rows with a seed and settings in, rows with sounds out."""

import base64
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]
from pydantic import ValidationError

from distill.audio.knobs import KNOBS
from distill.errors import UsageError
from distill.generation import TOP_P
from distill.generation.conditioning import nearest_grids, target_of
from distill.generation.export import ExportSettings, export
from distill.generation.generator import GeneratedSound, Generator, generate, sound_of
from distill.generation.sound_request import Request
from distill.generation.space import width_of
from distill.generation.writing import sound_tags
from distill.validation import explain

DEFAULTS = {"seconds": 3.0, "temperature": 1.0, "top_k": 0, "top_p": TOP_P}
# Nothing is asked for where they are missing.
ASKED = ("label", *KNOBS, "channels", "width")
OUTPUT = ("seed", "sample_rate", "seconds", "audio")

Row = dict[str, Any]


class ServedModel(PythonModel):
    """Makes a sound a row, the same that `distill generate --chain --as-made` makes with that seed."""

    generator: Generator

    def load_context(self, context: Any) -> None:
        """Read the `.distill` file among the artifacts, onto the device that the model's configuration names."""
        device = (context.model_config or {}).get("device", "cpu")
        self.generator = Generator.load(Path(context.artifacts["model"]), device)

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A data frame with `seed`, `sample_rate` in Hz, `seconds`, and `audio`: a WAV file as base64 text.

        Args:
            context: of no use here.
            model_input: data frame as the signature says, which MLflow checks before: `seed`, and `seconds`,
                `temperature`, `top_k`, `top_p` where they are given; of a model that can be asked also `label` and the
                knobs, from 0 to 1; of one that makes stereo sounds also `channels` and `width`.
            params: of no use here.

        Raises:
            MlflowException: a value is out of its range; a server answers 400.
        """
        rows = [_complete(row) for row in model_input.to_dict("records")]
        made = []
        for first, together in _batches(rows):
            try:
                made += self._sounds(together)
            except ValidationError as error:
                raise _refusal(f"row {first + 1}: {explain(error, Request)}") from error
            except UsageError as error:
                raise _refusal(f"row {first + 1}: {error}") from error
        return pd.DataFrame(made, columns=list(OUTPUT))

    def _sounds(self, rows: list[Row]) -> list[Row]:
        first, generator = rows[0], self.generator
        request = Request.model_validate({name: value for name, value in first.items() if name != "seed"})
        request.check(count=1, seed=first["seed"])
        if target := target_of(request, generator.conditions):
            wanted = max(1, generator.codec.samples_of(request.seconds or 0.0))
            seeds = [row["seed"] for row in rows]
            grids = nearest_grids(generator, seeds, wanted, target, config=request.config, natural=False)
            width = width_of(generator.codec, request.channels, request.width)
            sounds = [sound_of(generator, grid, wanted, seed, request.config, width) for seed, grid, _ in grids]
        else:
            sounds = generate(
                generator,
                count=len(rows),
                seconds=request.seconds or 0.0,
                seed=first["seed"],
                config=request.config,
                channels=request.channels,
                width=request.width,
            )
        return [
            {
                "seed": sound.seed,
                "sample_rate": sound.sample_rate,
                "seconds": sound.seconds,
                "audio": _audio(self.generator, sound),
            }
            for sound in sounds
        ]


def _complete(row: Mapping[Hashable, Any]) -> Row:
    """A row with a value for every setting; what is missing in some rows only is not a number in a data frame."""
    names = (*DEFAULTS, *ASKED)
    given = {name: row[name] for name in names if row.get(name) is not None and row[name] == row[name]}
    if "channels" in given:
        # A column in which some are missing holds floating-point numbers.
        given["channels"] = int(given["channels"])
    return {"seed": int(row["seed"]), **DEFAULTS, **given}


def _batches(rows: list[Row]) -> Iterator[tuple[int, list[Row]]]:
    """Neighbours with the same settings and seeds in sequence, which are made at once; each with its first index."""

    def kind(indexed: tuple[int, Row]) -> tuple[Any, ...]:
        index, row = indexed
        return row["seed"] - index, *(row.get(name) for name in (*DEFAULTS, *ASKED))

    for _, group in groupby(enumerate(rows), kind):
        together = list(group)
        yield together[0][0], [row for _, row in together]


def _audio(generator: Generator, sound: GeneratedSound) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        tags = sound_tags(generator, sound.seed)
        # It has its level already.
        export(
            path,
            [sound.samples.T],
            sound.sample_rate,
            settings=ExportSettings(),
            tags=tags,
            seed=sound.seed,
            level_given=True,
        )
        return base64.b64encode(path.read_bytes()).decode("ascii")


def _refusal(reason: str) -> MlflowException:
    # Of other exceptions a server tells only that something went wrong.
    return MlflowException.invalid_parameter_value(reason)


set_model(ServedModel())
