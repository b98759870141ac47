#!/usr/bin/env bash
# Build the release of this version into dist/: sdist and wheel, the same bytes each time, checked, with its notes.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' distill/__init__.py)
if [ -n "$(git status --porcelain)" ]; then
  echo "release: there are changes that are not committed: commit them first" >&2
  exit 1
fi
notes=$(awk -v version="$version" '/^## / { on = $2 == version; next } on' CHANGELOG.md)
if [ -z "$notes" ]; then
  echo "release: CHANGELOG.md says nothing of $version: write a section '## $version'" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --disable-pip-version-check hatchling twine

# The commit's time is in the archives, not the clock's.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
for number in 1 2; do
  git clone --quiet . "$work/tree$number"
  (cd "$work/tree$number" && "$work/tools/bin/python" -m hatchling build -d "$work/dist$number" > "$work/build.txt" 2>&1) \
    || { cat "$work/build.txt" >&2; exit 1; }
done
diff <(cd "$work/dist1" && sha256sum -- *) <(cd "$work/dist2" && sha256sum -- *) >&2 || {
  echo "release: two builds gave different bytes" >&2
  exit 1
}
"$work/tools/bin/twine" check --strict "$work"/dist1/*.whl "$work"/dist1/*.tar.gz

# As somebody who installs it.
"$python" -m venv "$work/user"
"$work/user/bin/pip" install --quiet --disable-pip-version-check --constraint constraints.txt "$work"/dist1/*.whl
PATH="$work/user/bin:$PATH"
cd "$work"
if [ "$(distill --version)" != "distill $version" ]; then
  echo "release: the installed command says $(distill --version)" >&2
  exit 1
fi
distill new project --sounds "$work/tree1/sounds" --quiet > /dev/null
(cd project && dvc stage list > /dev/null && distill model list --files-only > /dev/null 2>&1)
cd - > /dev/null

mkdir -p dist
printf '%s\n' "$notes" > "$work/dist1/notes.md"
cp "$work"/dist1/* dist/
echo "In dist/:"
(cd dist && sha256sum -- *"$version"* notes.md)
