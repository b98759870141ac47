"""What the pages presuppose: what is there before a page, what its words ask for, what cannot be had here."""

# Run by tests of their own, which also look at what comes out: test_tutorial.py and test_remote.py.
ELSEWHERE = {"docs/tutorial/first-model.md", "docs/how-to/team.md"}

IN_PROJECT = """
cp -a "$WORLD/bells" .
cd bells
"""
WITH_MODEL = """
cp -a "$WORLD/trained/." ~
cp -a ~/kit.distill "$WORLD"/singles/*.wav .
"""
WITH_CHAMPION = """
distill model register models/bells.distill
distill model promote bells/1
"""
# A clone in which scripts/setup.sh has nothing to install any more.
IN_CLONE = """
git -C "$REPOSITORY" ls-files -z | tar -C "$REPOSITORY" -c --null --files-from=- | tar -x
cp "$WORLD"/venv/lib/python*/site-packages/distill/template/params.yaml .
sed -i 's/^  name: .*/  name: bundled/' params.yaml
git init -q
git add -A
git commit -qm Clone
cp -a "$WORLD/venv" .venv
"""
WITH_LABELS = """
cp "$WORLD"/singles/*.wav .
rm -r ~/kit
cp -a "$WORLD/many" ~/kit
"""
INSTALLED = 'echo "[{}] $(cat constraints.txt pyproject.toml | cksum)" > .venv/.installed\n'
CHANGE = "sed -i '/^prior:/,/^[a-z]/ s/{}/{}/' params.yaml"
# A training that goes on, of which the state at step 300 is kept.
TRAINING = """
setsid distill train ~/kit --set vqvae.epochs=10000 --set vqvae.preview_interval=10000 > training.txt 2>&1 &
until distill run tune "$(basename runs/kit-*)" keep_interval=10; do sleep 1; done
"""

# Every page with lines for a terminal, and what somebody has who comes to it. All have sounds in ~/kit.
BEFORE = {
    "CONTRIBUTING.md": IN_CLONE + INSTALLED.format("dev"),
    "README.md": IN_CLONE + INSTALLED.format("ui") + WITH_LABELS,
    "docs/explanation/base.md": "cp -a ~/kit ~/more",
    "docs/explanation/scale.md": IN_PROJECT + CHANGE.format("epochs: 3", "epochs: 2"),
    "docs/explanation/memorization.md": IN_PROJECT + WITH_CHAMPION + "cp models/bells.distill kit.distill",
    "docs/how-to/ask.md": "",
    "docs/how-to/ci.md": "cp -a ~/kit ~/bells",
    "docs/how-to/compare.md": IN_PROJECT
    + "cp models/bells.distill models/one.distill\ncp models/bells.distill models/two.distill",
    "docs/how-to/devices.md": "cp -a ~/kit my_sounds",
    "docs/how-to/edit-codes.md": WITH_MODEL,
    "docs/how-to/flows.md": IN_PROJECT + WITH_CHAMPION,
    "docs/how-to/loops-and-kits.md": WITH_MODEL,
    "docs/how-to/own-sounds.md": "",
    "docs/how-to/project.md": "cp -a ~/kit ~/bells",
    "docs/how-to/promote.md": IN_PROJECT,
    "docs/how-to/release.md": IN_CLONE + INSTALLED.format("docs"),
    "docs/how-to/reproduce.md": IN_PROJECT + WITH_CHAMPION + "distill generate -n 4",
    "docs/how-to/stereo.md": WITH_MODEL,
    "docs/how-to/sweep.md": IN_PROJECT,
    "docs/reference/codes.md": WITH_MODEL,
    "docs/reference/datasets.md": "cp -a ~/kit ~/kit-old\nrm ~/kit/tom/tom5.wav"
    + IN_PROJECT
    + """
distill dataset add ~/kit
git commit -qam New
cp ~/kit-old/tom/tom5.wav ~/kit/tom/tom9.wav
""",
    "docs/reference/generation.md": IN_PROJECT + WITH_MODEL + "mkdir samples\ncp kick.wav samples",
    "docs/reference/operations.md": IN_PROJECT
    + """
distill model register models/bells.distill
"""
    + CHANGE.format("epochs: 3", "epochs: 2")
    + """
dvc repro
git commit -qam Again
distill train ~/kit
""",
    "docs/reference/page.md": IN_PROJECT + "cp -a . ~/sounds" + TRAINING,
    "docs/reference/pipeline.md": IN_PROJECT,
    "docs/reference/runtime-config.md": IN_PROJECT + TRAINING,
    "docs/tutorial/notebook.md": "",
}

WAIT = "until distill run snapshots kit-1a2b3c4d | grep -qw {}; do sleep 3; done"
# What a page asks for in words before a line.
MEANWHILE = {
    "distill run diff kit-1a2b3c4d softer-before softer-after": WAIT.format("softer-after"),
    "distill run snapshots kit-1a2b3c4d": WAIT.format("300"),
    "dvc params diff": CHANGE.format("dropout: 0.1", "dropout: 0.2"),
    "distill dataset diff data/bells ~/bells": "cp ~/kit/tom/tom5.wav ~/bells/tom/tom9.wav",
    "dvc pull data/bells.dvc": "dvc remote add -d team ~/team\ndvc push",
    "export MLFLOW_TRACKING_URI=http://mlflow.example.org:5000": """
setsid mlflow server --port 5500 --workers 1 > server.txt 2>&1 &
until curl -sf http://127.0.0.1:5500/health; do sleep 1; done
"""
    + CHANGE.format("epochs: 3", "epochs: 2"),
}

# What a reader answers to the question that a line asks.
ANSWERS = {"distill model delete bells/1": "y"}

# What a page leaves open, and how it is found here.
STANDS_FOR = {
    "kit-1a2b3c4d": "basename runs/kit-*",
    "COMMIT": "git rev-parse HEAD~1",
    "http://mlflow.example.org:5000": "echo http://127.0.0.1:5500",
    "tcp://host:8786": "echo tcp://127.0.0.1:8786",
}

SUITE = "it runs these tests"
FETCHES = "it fetches packages that are not here"
GPU = "there is no GPU here"
HOSTS = "it takes two machines"
BASE = "it is two hours' work with packages of Debian"
# Lines that are not run, and why.
NOT_RUN = {
    "scripts/test.sh": SUITE,
    "scripts/release.sh": FETCHES,
    "distill train my_sounds --device cuda": GPU,
    "distill train my_sounds --device cuda:1": GPU,
    "torchrun --nnodes 2 --node-rank 0 --nproc-per-node 4 --master-addr HOST -m distill stage train_vqvae": HOSTS,
    "pip install distill-audio jupyterlab": FETCHES,
    "jupyter lab first_model.ipynb": "jupyterlab is not here; tests/test_notebook.py runs the notebook",
    "apt-get install fluidsynth fluid-soundfont-gm musescore-general-soundfont sonic-pi-samples hydrogen-drumkits "
    "espeak-ng": BASE,
    "pip install pyfluidsynth": BASE,
    "cd base && dvc repro": BASE,
    "cp trained/vqvae.distill ../distill/shipped/base.distill": BASE,
    "cp trained/vocoder-half.safetensors ../distill/shipped/vocoder.safetensors": BASE,
}
