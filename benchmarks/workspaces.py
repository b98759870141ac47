"""Workspaces that a benchmark trains in by the pipeline's own stages, and the sounds that they were split into."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.artifact.model_file import read_model
from distill.artifact.prior_file import read_prior
from distill.audio.samples import to_mono
from distill.audio.sound import SoundError, read_sound
from distill.codec.codec import Codec, Samples
from distill.codec.load import build_networks
from distill.dataset.scan import SILENCE_PEAK
from distill.dataset.store import PreparedDataset
from distill.generation.generator import Generator
from distill.live.events import Listeners
from distill.live.stop_request import StopRequest
from distill.params import parse_params, with_settings, write_params
from distill.stages.pipeline import run_stage
from distill.stages.workspace import Call, Workspace
from output import sounds

import numpy as np

QUICK = ["vqvae.epochs=2", "prior.epochs=2", "vqvae.augmentation_expansion=1", "vqvae.kmeans_chunks=0"]


def prepared(root: Path, name: str, seed: int, args: argparse.Namespace, **run: str) -> Workspace:
    """A workspace in which a set of sounds is prepared and configured; `run` are parameters of that section."""
    workspace = Workspace(root)
    workspace.root.mkdir(parents=True, exist_ok=True)
    values = {
        "data": {"path": str(sounds(name))},
        "run": {"seed": seed, "device": "cpu", "threads": args.threads, **run},
    }
    params = with_settings(parse_params(values, where="the benchmark"), args.set + (QUICK if args.quick else []))
    write_params(workspace.params_file, params)
    train(workspace, "prepare", "configure")
    return workspace


def train(workspace: Workspace, *stages: str) -> None:
    """Run stages of the pipeline."""
    for stage in stages:
        run_stage(stage, Call(workspace, Listeners(), StopRequest()))


@contextmanager
def kept(name: str, seed: int, args: argparse.Namespace) -> Iterator[Workspace]:
    """A workspace of a set of sounds: that of this name and seed in `args.keep`, or one for the moment.

    One that is new is prepared and configured.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = args.keep / f"{name}-{seed}" if args.keep else Path(folder)
        workspace = Workspace(root)
        yield workspace if workspace.config("train_vqvae").exists() else prepared(root, name, seed, args)


def generator_of(workspace: Workspace) -> Generator:
    """What makes new sounds, of a workspace in which a VQ-VAE and a prior are trained."""
    model = read_model(workspace.vqvae)
    trained = read_prior(workspace.prior, vqvae_digest=model.digest)
    networks = build_networks(model, workspace.prior, trained=trained)
    codec = Codec(networks.vqvae, model.manifest.spectrogram_config, space=networks.optional_space)
    return Generator(codec, networks.prior, conditions=trained.config.conditions)


def files(dataset: PreparedDataset, split: str, name: str) -> list[Path]:
    """The files of a prepared set of sounds that are in a split: train or validation."""
    table = dataset.manifest
    return [sounds(name) / path for path in table["path"][table["split"] == split]]


def waveforms(paths: list[Path], sample_rate: int) -> list[Samples]:
    """Sounds `[n]` with a peak of 1 each; unreadable and silent ones are left out."""
    found = list[Samples]()
    for path in paths:
        try:
            samples = to_mono(read_sound(path), sample_rate)
        except SoundError:
            continue
        peak = np.abs(samples).max(initial=0.0)
        if peak >= SILENCE_PEAK:
            found.append((samples / np.float32(peak)).astype(np.float32))
    return found
