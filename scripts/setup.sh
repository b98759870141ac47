# Sourced by the other scripts: makes .venv with what constraints.txt names, and puts it first on PATH.
# Needs Python 3.11 or newer with venv; PYTHON names another interpreter than python3, VENV another folder than .venv.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed; name it with PYTHON=..., $python is $("$python" --version 2>&1)" >&2
  exit 1
}

venv="${VENV:-.venv}"
wanted="$1 $(cat constraints.txt pyproject.toml | cksum)"
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
  echo "Installing into $venv (a few minutes the first time)" >&2
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt \
    --editable ".$1"
  # pip compiles on one core, and tests of packages, too. What cannot be compiled is for another Python.
  "$venv/bin/python" -W ignore -m compileall -qq -j 0 -x '/tests/' "$venv/lib" distill flows || true
  echo "$wanted" > "$venv/.installed"
fi

PATH="$PWD/$venv/bin:$PATH"
export PATH DVC_NO_ANALYTICS=1 DO_NOT_TRACK=true
