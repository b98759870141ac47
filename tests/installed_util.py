"""distill as somebody has it who installed the wheel, in an environment of its own."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def build_wheel(folder: Path) -> Path:
    """The wheel of this repository."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def install(wheel: Path, root: Path) -> Path:
    """An environment in `root` with all commands that are installed here, `distill` from the wheel; its packages."""
    packages = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    venv.create(root, symlinks=True)
    own = root / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    with zipfile.ZipFile(wheel) as content:
        content.extractall(own)
    # Only what is found by its path: what is installed here in place, this repository, is not.
    (own / "here.pth").write_text(f"{packages}\n")
    bin_here = Path(sys.executable).parent
    for command in bin_here.iterdir():
        known = command.is_file() and not command.is_symlink() and command.read_bytes()
        if known and known.startswith(f"#!{bin_here}/python".encode()):
            _, _, rest = known.partition(b"\n")
            (root / "bin" / command.name).write_bytes(f"#!{root}/bin/python\n".encode() + rest)
            (root / "bin" / command.name).chmod(0o755)
    return own


def call_installed(*command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command says on stdout in such an environment."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def installed_environment(environment: Path, home: Path) -> dict[str, str]:
    """What commands run under in such an environment; models and runs go to `home`."""
    apart = ("PYTHONPATH", "DISTILL_PROJECT", "PYTHON", "VENV")
    inherited = {name: value for name, value in os.environ.items() if name not in apart}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(environment / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "DISTILL_HOME": str(home),
        "DISTILL_TRACKING": "on",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "DVC_NO_ANALYTICS": "1",
    }
