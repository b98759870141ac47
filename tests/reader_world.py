"""What a reader of the pages has: distill from its wheel, a few little sounds, a model and a project made of them.

All of it is made by the commands themselves. Only the settings are smaller than a reader's, so that a training takes
seconds: those of a new project in the `params.yaml` that the wheel brings, those of `distill train` in the script that
calls it.
"""

import json
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from database_util import put_database
from installed_util import build_wheel, call_installed, install, installed_environment
from pipeline_util import TINY
from sounds_util import noise, save, tone

RATE = 48_000
FREQUENCIES = {"kick": 60.0, "snare": 190.0, "hat": 5000.0, "tom": 110.0}
SMALL: dict[str, dict[str, Any]] = {
    **{name: {**section} for name, section in TINY.items() if name != "model"},
    "vqvae": {**TINY["vqvae"], "epochs": 2, "codebook_size": 32, "num_quantizers": 3, "augmentation_expansion": 1},
    "prior": {**TINY["prior"], "epochs": 3, "column_cuts": 1, "augmented_copies": 0},
    # With this one sounds of every label are learned from.
    "run": {**TINY["run"], "seed": 4},
}
# Sounds end soon where the prior has learned that they do, and take less time to make.
ENDING = {"prior.epochs": 40, "prior.learning_rate": 5e-3}
COMMAND = """\
#!/bin/sh
if [ "$1" = train ]; then shift; set -- train {settings} "$@"; fi
exec {python} -m distill "$@"
"""


@dataclass(frozen=True)
class World:
    """Where it lies: `venv`, `home` with sounds, `trained` with a model as well, the project `bells`, more sounds."""

    root: Path

    def environment(self, home: Path) -> dict[str, str]:
        """What a reader's commands run under who lives in `home`."""
        given = installed_environment(self.root / "venv", home)
        # Where models and runs go follows from the home folder.
        del given["DISTILL_HOME"]
        return {
            **given,
            "HOME": str(home),
            "WORLD": str(self.root),
            # As a reader has it who told git his name.
            **{f"GIT_{who}_NAME": "Reader" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "reader@example.org" for who in ("AUTHOR", "COMMITTER")},
            # What is installed is found here; of what is not, the wheel of distill alone.
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_FIND_LINKS": str(self.root / "dist"),
            "PIP_CONFIG_FILE": "/dev/null",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
        }


def make_world(root: Path) -> World:
    """Make it in an empty folder."""
    world = World(root)
    packages = install(build_wheel(root / "dist"), root / "venv")
    _make_small(packages / "distill" / "template" / "params.yaml")
    small = {
        f"{section}.{key}": value
        for section, values in SMALL.items()
        if section != "vocoder"
        for key, value in values.items()
    }
    settings = shlex.join(f"--set={name}={json.dumps(value)}" for name, value in {**small, **ENDING}.items())
    script = root / "venv" / "bin" / "distill"
    script.write_text(COMMAND.format(python=shlex.quote(str(root / "venv" / "bin" / "python")), settings=settings))
    make_sounds(root / "home" / "kit")
    # So many of a label that a training learns the labels without being told to.
    make_sounds(root / "many", labels=("kick", "snare"), count=14)
    make_singles(root / "singles")
    trained = root / "trained"
    make_sounds(trained / "kit", stereo=True)
    put_database(trained / ".local" / "share" / "distill")
    _call(world, "distill train ~/kit -o kit.distill --set prior.conditions=true", trained, home=trained)
    _call(world, "distill new bells --sounds home/kit", root, home=root / "home")
    build = "dvc repro && git add -A && git commit -qm Train"
    _call(world, build, put_database(root / "bells"), home=root / "home")
    return world


def make_sounds(folder: Path, *, labels: Iterable[str] = FREQUENCIES, count: int = 6, stereo: bool = False) -> Path:
    """Short sounds, `count` of each label."""
    for label in labels:
        for number in range(count):
            seconds = 0.2 + 0.04 * (number % 6)
            sound = tone(seconds, FREQUENCIES[label] * 1.1**number, RATE)
            if label in ("snare", "hat"):
                sound = sound + noise(seconds, number, RATE) * np.linspace(1, 0, len(sound), dtype=np.float32) ** 2
            if stereo and number % 2:
                sound = np.stack([sound, 0.3 * sound], axis=1)
            save(folder / label / f"{label}{number}.wav", sound, RATE)
    return folder


def make_singles(folder: Path) -> Path:
    """The sounds that pages name."""
    for name, frequency in {"kick": 60.0, "snare": 190.0, "bell": 880.0, "loop": 330.0}.items():
        save(folder / f"{name}.wav", tone(1.5, frequency, RATE), RATE)
    pad = tone(1.5, 220.0, RATE)
    save(folder / "pad.wav", np.stack([pad, 0.3 * pad], axis=1), RATE)
    return folder


def _make_small(params: Path) -> None:
    values = yaml.safe_load(params.read_text(encoding="utf-8"))
    for name, section in SMALL.items():
        values[name] = {**values.get(name, {}), **section}
    params.write_text(yaml.safe_dump(values), encoding="utf-8")


def _call(world: World, command: str, folder: Path, *, home: Path) -> None:
    call_installed("bash", "-c", command, folder=folder, environment=world.environment(home))
