"""The pages can be followed: every line for a terminal is run, page by page, in the order in which it stands there.

A page gets a home folder of its own, and a network in which there is nothing but this machine. A line that goes on
until Ctrl-C keeps its terminal: the block's next line ends it, the next block goes to another terminal in that folder.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from installed_util import REPOSITORY
from reader_tables import ANSWERS, BEFORE, ELSEWHERE, MEANWHILE, NOT_RUN, STANDS_FOR
from reader_world import World, make_world
from terminal_util import SERVERS, Terminal, end_all, offline

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
SECONDS = 2400.0


def blocks(page: Path) -> list[list[str]]:
    """The blocks for a terminal of a page: their lines, those that go on in the next line as one."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^( *)```bash\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    joined = [re.sub(r"\\\n *", "", block) for _, block in found]
    return [[line.strip() for line in block.splitlines() if line.strip()] for block in joined]


def without_comment(line: str) -> str:
    """A line without what it says to people."""
    return re.sub(r"(^|\s+)#.*", "", line)


WITH_LINES = {
    name: found
    for page in PAGES
    if (name := page.relative_to(REPOSITORY).as_posix()) not in ELSEWHERE and (found := blocks(page))
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def network() -> Iterator[list[str]]:
    with offline() as inside:
        yield inside


class Reader:
    """Somebody who has a home folder, terminals, and a page."""

    def __init__(self, world: World, root: Path, network: list[str]) -> None:
        self.root, self.network = root, network
        self.home = root / "home"
        shutil.copytree(world.root / "home", self.home)
        (self.home / "lab").mkdir()
        self.environment = {**world.environment(self.home), "REPOSITORY": str(REPOSITORY)}
        self.terminals = [self._terminal(self.home / "lab")]
        self.busy = False

    def prepare(self, lines: str) -> None:
        """Have what is there before lines of the page are given."""
        for line in filter(None, lines.splitlines()):
            self._done(self._filled(line))

    def follow(self, block: list[str]) -> None:
        """Give the lines of a block."""
        if self.busy:
            self.terminals.append(self._terminal(self.terminals[-1].folder))
            self.busy = False
        for given in block:
            if self.busy:
                self._stop()
            line = without_comment(given)
            if line in NOT_RUN:
                continue
            self.prepare(MEANWHILE.get(line, ""))
            line = self._filled(line)
            if up := next((up for server, up in SERVERS.items() if re.match(server, line)), None):
                self.terminals[-1].start(line, up, SECONDS)
                self.busy = True
            else:
                self._done(f"{line} <<< {ANSWERS[line]}" if line in ANSWERS else line)

    def leave(self) -> None:
        """Close everything."""
        end_all(str(self.home))
        for terminal in self.terminals:
            terminal.close()

    def _stop(self) -> None:
        answer = self.terminals[-1].stop()
        # The last is what click says of a Ctrl-C, with a code of 1.
        assert answer.code in (0, 130) or answer.said.endswith("Aborted!\n"), answer
        self.busy = False

    def _filled(self, line: str) -> str:
        for words, found_by in STANDS_FOR.items():
            if words in line:
                line = line.replace(words, self._done(found_by).strip())
        return line

    def _done(self, line: str) -> str:
        answer = self.terminals[-1].run(line, SECONDS)
        # It may have asked a server in another terminal.
        others = [terminal.log.read_text(errors="replace")[-2000:] for terminal in self.terminals[:-1]]
        assert answer.code == 0, "\n".join([line, answer.said, *others])
        assert "cannot use the record of runs" not in answer.said, answer.said
        # To curl a server's refusal is an answer like others.
        assert not line.startswith("curl") or '"error' not in answer.said, answer.said
        return answer.said

    def _terminal(self, folder: Path) -> Terminal:
        log = self.root / f"terminal{len(list(self.root.glob('terminal*')))}.txt"
        return Terminal(self.network, folder, self.environment, log)


@pytest.fixture
def reader(world: World, tmp_path: Path, network: list[str]) -> Iterator[Reader]:
    somebody = Reader(world, tmp_path, network)
    try:
        yield somebody
    finally:
        somebody.leave()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", WITH_LINES)
def test_a_page_can_be_followed(name: str, reader: Reader) -> None:
    reader.prepare(BEFORE[name])
    for block in WITH_LINES[name]:
        reader.follow(block)


def test_what_is_prepared_or_left_out_belongs_to_a_page() -> None:
    lines = {without_comment(line) for page in WITH_LINES.values() for block in page for line in block}
    assert {*WITH_LINES} == {*BEFORE}
    assert {*NOT_RUN} <= lines
    assert {*MEANWHILE, *ANSWERS} <= lines
    assert all(any(words in line for line in lines) for words in STANDS_FOR)
