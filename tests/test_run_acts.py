"""What can be done with a run where it stands; nothing else can be pressed on the page."""

from pathlib import Path

import pytest

from distill.processes.run_lock import hold
from distill.runs.folder import Order, write_order
from distill.ui.training_actions import acts_of


@pytest.mark.parametrize(
    ("order", "finished", "acts"),
    [
        (Order("kit"), True, set()),
        (Order("kit", until="train_vqvae"), True, {"complete"}),
        (Order("kit"), False, {"resume"}),
        (Order("kit", until="train_vqvae"), False, {"resume", "complete"}),
        (Order("kit", until="assemble"), True, set()),
        # What follows from more than its settings is gone on with where it was started.
        (Order("kit", again=False), False, set()),
        (Order("kit", until="train_vqvae", again=False), True, set()),
    ],
)
def test_what_does_not_run_is_gone_on_with_or_left(
    tmp_path: Path, order: Order, finished: bool, acts: set[str]
) -> None:
    write_order(tmp_path / "run", order, finished=finished)
    assert acts_of(tmp_path / "run") == {*acts, "remove"}
    # While somebody works in it, it cannot be removed.
    with hold(tmp_path / "run"):
        assert acts_of(tmp_path / "run") == {"stop"}


def test_nothing_can_be_done_with_a_folder_that_nobody_trained_in(tmp_path: Path) -> None:
    assert acts_of(tmp_path) == frozenset()
