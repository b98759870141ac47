"""Write docs/reference/parameters.md, the table of all parameters, from their models and the adaptive settings."""

import math
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import AfterValidator, WithJsonSchema
from pydantic.fields import FieldInfo

from distill import adaptive
from distill.configs import Config, PriorConfig, VQVAEConfig
from distill.files import write_bytes
from distill.params import BASE_AUTO, BASE_NONE, SCHEMA, Params, VQVAEParams

TARGET = Path(__file__).resolve().parent.parent / "docs" / "reference" / "parameters.md"

RESOLVED: dict[str, type[Config]] = {"vqvae": VQVAEConfig, "prior": PriorConfig}
KINDS = {int: "integer", float: "number", str: "text", bool: "true or false"}
AUTO = Literal["auto"]
PLANNED = "planned"

INTRODUCTION = f"""\
<!-- Written by scripts/write_parameters.py: run it instead of changing this page. -->
# Parameters

Every parameter belongs to a section. For `dvc repro`, set it in `params.yaml`, as `section: {{name: value}}`; for
`distill train` and `distill train-prior`, use `--set section.name=value`. An unknown name, a wrong type or a value out
of range is refused before anything starts. With these commands, `--model-name` gives the name of the model, and
`train-prior` takes the sections `spectrogram` and `vqvae` from the model.

In the sections `vqvae` and `prior`, every parameter is `auto` unless you set it. What `auto` stands for depends on the
preset (`run.preset`) and on the number of usable files; the stage `configure` writes the result to `config/`. A value
that you set overrides every preset. In the other sections, only the parameters whose type says so may be `auto`.

`schema`, above the sections, is the version of the file format: {SCHEMA}.
"""

NOTES = {
    "vqvae": "The four spectral weights must sum to 0.95 to 1.05; the commitment weight is separate. "
    "`min_learning_rate` must not be above `learning_rate`. "
    f"Without a base, the `learning_rate` of `tuned` is {adaptive.TUNED_VQVAE['learning_rate']:g}.",
    "prior": "`heads` must divide `hidden`. `min_learning_rate` must not be above `learning_rate`.",
}


def parameters_text() -> str:
    """The text of the page."""
    parts = [INTRODUCTION]
    for section, field in Params.model_fields.items():
        config = field.annotation
        if section in RESOLVED:
            parts.append(_resolved_section(section))
        elif isinstance(config, type) and issubclass(config, Config):
            parts.append(_plain_section(section, config))
    parts += [_by_number_of_files(), _tuned()]
    return "\n".join(parts)


def _heading(section: str, config: type[Config]) -> str:
    return f"## {section}\n\n{' '.join((config.__doc__ or '').split())}\n"


def _plain_section(section: str, config: type[Config]) -> str:
    rows = [
        [f"`{name}`", kind(field), span(field), code(field.default), field.description or ""]
        for name, field in config.model_fields.items()
    ]
    return f"{_heading(section, config)}\n{table(['name', 'type', 'range', 'default', 'meaning'], rows)}"


def _resolved_section(section: str) -> str:
    config = RESOLVED[section]
    by_files, tuned = _reference(section), _tuned_values(section)
    rows = [
        [
            f"`{name}`",
            kind(field),
            span(field),
            "by files" if len(set(by_files[name])) > 1 else code(by_files[name][0]),
            ("by files" if len(set(tuned[name])) > 1 else code(tuned[name][0])) if name in tuned else "the same",
            field.description or "",
        ]
        for name, field in config.model_fields.items()
    ]
    if section == "vqvae":
        base = VQVAEParams.model_fields["base"]
        rows.append(["`base`", kind(base), "", code(BASE_NONE), code(BASE_AUTO), base.description or ""])
    columns = ["name", "type", "range", "`reference`", "`tuned`", "meaning"]
    return f"{_heading(section, config)}\n{NOTES[section]}\n\n{table(columns, rows)}"


def _by_number_of_files() -> str:
    """The table of adaptive settings, and what else follows from the number of files."""
    columns = ["parameter", *_tier_names()]
    rows = []
    for section in RESOLVED:
        for name, values in _reference(section).items():
            if len(set(values)) > 1 and name != "batch_size":
                rows.append([f"`{section}.{name}`", *map(code, values)])
    return (
        "## Values by number of files\n\n"
        'In the preset `reference`, these depend on the number of usable files ("by files" in the tables above):\n\n'
        f"{table(columns, rows)}\n"
        "- `vqvae.batch_size` and `prior.batch_size`: 1.25 per file, rounded down, "
        f"at least {adaptive.batch_size(1)} and at most {adaptive.batch_size(10**6)}.\n"
        f"- `data.validation_fraction`: {_validation_fractions()}.\n"
    )


def _tuned() -> str:
    rows = []
    for section in RESOLVED:
        reference = _reference(section)
        for name, values in _tuned_values(section).items():
            was = ["by files"] if name == "batch_size" else [code(value) for value in reference[name]]
            now = [PLANNED if value == PLANNED else code(value) for value in values]
            rows.append([f"`{section}.{name}`", _joined(was), _joined(now)])
    plans = (
        ("VQ-VAE", adaptive.TUNED_VQVAE_STEPS_FROM_BASE),
        ("VQ-VAE, `base: none`", adaptive.TUNED_VQVAE_STEPS),
        ("prior", adaptive.TUNED_PRIOR_STEPS),
        ("VQ-VAE, `sketch`", adaptive.SKETCH_VQVAE_STEPS_FROM_BASE),
        ("VQ-VAE, `sketch` and `base: none`", adaptive.SKETCH_VQVAE_STEPS),
        ("prior, `sketch`", adaptive.SKETCH_PRIOR_STEPS),
    )
    steps = [[name, *(str(number) for number in plan)] for name, plan in plans]
    return (
        "## The presets `tuned` and `sketch`\n\n"
        "`sketch` is `tuned` with few optimizer steps, whatever the number of files. "
        "`tuned` starts from `reference` and changes these (slashes separate values by number of files):\n\n"
        f"{table(['parameter', '`reference`', '`tuned`'], rows)}\n"
        f"`{PLANNED}` values depend on the dataset:\n\n"
        f"- `epochs`: as many as the optimizer steps below require, at least {adaptive.LEAST_EVALUATIONS}.\n"
        f"- `steps_per_epoch`: 0, or a {adaptive.LEAST_EVALUATIONS}th of the steps if a pass takes more than that.\n"
        "  **With long or many sounds, an epoch of `--epochs` is then only part of a pass;** 0 means full passes.\n"
        f"  If a pass takes less than a {adaptive.MOST_EVALUATIONS}th of the steps, the steps of several passes, "
        "unless `epochs` is set: epochs that are set are single passes.\n"
        "- `prior.batch_size`: the value of `reference`, or less if the sounds are long: a step has at most "
        f"{adaptive.TUNED_PRIOR_STEP_CODES} codes.\n"
        "- `prior.early_stop_patience`: a quarter of the epochs, at least 5.\n"
        f"- `prior.conditions`: true for {adaptive.CONDITIONS_FILES} sounds or more; false in `sketch`.\n"
        "- `vqvae.augmentation_expansion`: the value of `reference`, or less if a pass would take more than a "
        f"{adaptive.LEAST_EVALUATIONS}th of the steps.\n"
        f"- `vqvae.threshold_ema_dead_code`: {adaptive.TUNED_DEAD_SHARE:g} of the vectors that each code would get per "
        "step if all were used evenly; at most 1000.\n\n"
        f"{table(['optimizer steps', 'per usable file', 'at least', 'at most'], steps)}"
    )


def _counts() -> list[int]:
    """A number of files in each tier: the largest, or one more than the tier before has."""
    counts: list[int] = []
    for tier in adaptive.TIERS:
        counts.append(int(tier.most_files) if tier.most_files != float("inf") else counts[-1] + 1)
    return counts


def _tier_names() -> list[str]:
    names: list[str] = []
    least = 1
    for tier in adaptive.TIERS:
        if tier.most_files == float("inf"):
            names.append(f"from {least} files")
        else:
            names.append(f"{least} to {tier.most_files:g} files")
            least = int(tier.most_files) + 1
    return names


def _reference(section: str) -> dict[str, list[Any]]:
    """Each parameter's values by tier; `batch_size`, which has its own rule, always counts as different ones."""
    adapted = {"vqvae": adaptive.get_adaptive_vqvae_config, "prior": adaptive.get_adaptive_prior_config}[section]
    configs = [adapted(count).model_dump() for count in _counts()]
    values = {name: [config[name] for config in configs] for name in configs[0]}
    values["batch_size"] = [adaptive.batch_size(count) for count in range(1, 1000)]
    return values


def _tuned_values(section: str) -> dict[str, list[Any]]:
    """The values by tier of what `tuned` changes, PLANNED where they depend on more than the number of files."""
    by_tier = []
    for count in _counts():
        small, large = (_tuned_for(section, count, size) for size in (10, 1_000_000))
        by_tier.append({name: value if value == large[name] else PLANNED for name, value in small.items()})
    return {name: [values[name] for values in by_tier] for name in by_tier[0]}


def _tuned_for(section: str, count: int, size: int) -> dict[str, Any]:
    if section == "prior":
        prior = adaptive.get_adaptive_prior_config(count)
        return adaptive.tuned_prior(
            prior, file_count=min(count, size), windows=size, window_codes=math.sqrt(size), given={}
        )
    vqvae = adaptive.get_adaptive_vqvae_config(count)
    return adaptive.tuned_vqvae(vqvae, file_count=count, train_chunks=size, chunk_vectors=size, given={})


def _validation_fractions() -> str:
    ranges: list[tuple[int, float]] = []
    for count in range(1, 10_000):
        share = adaptive.validation_fraction(count)
        if not ranges or ranges[-1][1] != share:
            ranges.append((count, share))
    ends = [f"below {first} files" for first, _ in ranges[1:]] + [f"from {ranges[-1][0]} files"]
    return ", ".join(f"{share:g} {end}" for (_, share), end in zip(ranges, ends, strict=True))


def kind(field: FieldInfo) -> str:
    """The type of a parameter in words."""
    return _kind(field.annotation)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "`auto`" if annotation == AUTO else "choice"
    if origin is tuple:
        return f"list of {_kind(arguments[0])}s" if arguments[0] is not str else "list of texts"
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments)
    return KINDS[annotation]


def span(field: FieldInfo) -> str:
    """The range of a parameter in words; empty where the description alone says it."""
    choices = [
        value
        for each in (field.annotation, *get_args(field.annotation))
        if get_origin(each) is Literal and each != AUTO
        for value in get_args(each)
    ]
    if choices:
        return ", ".join(f"`{value}`" for value in choices)
    low = high = ""
    more: list[str] = []
    for each in field.metadata:
        match each:
            case Ge(ge=value):
                low = code(value)
            case Gt(gt=value):
                low = f"above {code(value)}"
            case Le(le=value):
                high = code(value)
            case Lt(lt=value):
                high = f"below {code(value)}"
            case MultipleOf(multiple_of=value):
                more.append(f"a multiple of {value}")
            case MinLen(min_length=value):
                more.append("not empty" if value == 1 else f"at least {value} long")
            case MaxLen(max_length=value):
                more.append(f"at most {value} {'characters' if field.annotation is str else 'items'}")
            case AfterValidator() | WithJsonSchema():
                # What the description says, as a function.
                continue
            case _ if pattern := getattr(each, "pattern", None):
                more.append(f"`{pattern}`")
            case _:
                raise ValueError(f"no words for the constraint {each!r}")
    both = f"{low} to {high}" if low and high else low or high
    return ", ".join(filter(None, [both, *more]))


def code(value: Any) -> str:
    """A value as it is written in YAML."""
    if value == PLANNED:
        return PLANNED
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(code, value))}]"
    return (f"`{value}`" if value else "empty") if isinstance(value, str) else str(value)


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _joined(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else " / ".join(values)


if __name__ == "__main__":
    write_bytes(TARGET, parameters_text().encode())
