"""The settings of a running training: their table, transactions, several writers, edits by hand, snapshots."""

import json
import multiprocessing
import re
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.configs import LiveConfig, PriorConfig, RunConfig, TrainingConfig, VQVAEConfig
from distill.errors import ArtifactError, DistillError, StorageError, UsageError
from distill.live.parameters import Kind, Settings, everything, parameters, tunable
from distill.live.runtime_config import RuntimeConfigManager

BASE = VQVAEConfig()

# What anybody may want to do that is wrong, and a word of the answer.
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"max_lrr": 1e-3}, "did you mean max_lr"),
    ({"learning_rate": 1e-3}, "called max_lr"),
    ({"max_lr": "1e-3"}, "valid number"),
    ({"max_lr": float("nan")}, "finite"),
    ({"max_lr": 0.5}, "less than or equal to 0.01"),
    ({"max_lr": True}, "valid number"),
    ({"log_interval": 2.5}, "valid integer"),
    ({"min_lr": 1e-3, "max_lr": 1e-4}, "min_lr must not be above max_lr"),
    ({"weight_full": 0.7}, "sum to 0.95 to 1.05, not 1.2"),
    ({"decay": 1.0}, "less than 1"),
    ({"codebook_size": 64}, "only be set at the start: it determines the shapes of the weights"),
    ({"seed": 1}, "only be set at the start"),
    ({"max_lr": 1e-3, "gradient_clip": None}, "valid number"),
]


@pytest.fixture
def manager(tmp_path: Path) -> RuntimeConfigManager:
    return RuntimeConfigManager(tmp_path / "runtime_config.json", BASE)


def edit(manager: RuntimeConfigManager, **changes: Any) -> None:
    """What somebody with an editor does."""
    values = json.loads(manager.path.read_text())
    manager.path.write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize("config", [VQVAEConfig, PriorConfig])
def test_every_parameter_of_a_training_is_in_the_table_once(config: type[TrainingConfig]) -> None:
    table = parameters(config)
    assert {each.field for each in table.values() if each.field} == {*config.model_fields, "seed"}
    for name, each in table.items():
        assert each.name == name
        assert each.description
        assert bool(each.reason) == (each.kind is Kind.STARTUP_ONLY)
        source = RunConfig if name == "seed" else config if each.field else LiveConfig
        assert each.description == source.model_fields[each.field or name].description
    assert set(Settings(config()).values()) == set(tunable(config))


def test_the_ranges_are_those_asked_for() -> None:
    table = everything()
    expected = {
        "max_lr": (1e-5, 1e-2),
        "min_lr": (1e-8, 1e-3),
        "gradient_clip": (0.1, 10.0),
        "weight_full": (0.0, 0.9),
        "commitment_weight": (0.01, 1.0),
    }
    assert {name: (table[name].low, table[name].high) for name in expected} == expected
    assert table["max_lr"].kind is Kind.SAFE
    assert table["decay"].kind is Kind.CAREFUL
    assert table["decay"].below_high
    assert table["codebook_size"].kind is Kind.STARTUP_ONLY


WEIGHTS = [f"weight_{name}" for name in BASE.spectral_weights]
# All that change and have limits; the weights, which sum to one, are not changed alone.
LIMITED = [
    name
    for name, each in everything().items()
    if each.kind is not Kind.STARTUP_ONLY and each.type != "bool" and name not in WEIGHTS
]


@pytest.mark.parametrize("name", WEIGHTS)
def test_limits_hold_for_every_weight(name: str) -> None:
    def changed(value: float) -> float:
        rest = [each for each in WEIGHTS if each != name]
        return Settings(BASE).changed({**dict.fromkeys(rest, (1 - value) / len(rest)), name: value}).values()[name]

    assert [changed(value) for value in (0.0, 0.9)] == [0.0, 0.9]
    for beyond, words in ((-0.01, "greater than or equal to 0"), (0.91, "less than or equal to 0.9")):
        with pytest.raises(UsageError, match=f"{name}.*{words}"):
            changed(beyond)


@pytest.mark.parametrize("name", LIMITED)
def test_limits_hold_for_every_parameter(name: str) -> None:
    each = everything()[name]
    settings = Settings(PriorConfig()) if name not in tunable(VQVAEConfig) else Settings(BASE)
    for limit in (each.low, each.high):
        assert limit is not None
        if not (limit == each.high and each.below_high):
            value = int(limit) if each.type == "int" else limit
            pair: dict[str, Any] = {"max_lr": max(float(limit), BASE.learning_rate)} if name == "min_lr" else {}
            pair |= {"plateau_safety_threshold": 10_000} if name == "plateau_patience" else {}
            pair |= {"plateau_patience": 1} if name == "plateau_safety_threshold" else {}
            assert settings.changed({name: value, **pair}).values()[name] == value
        beyond = limit - 1 if limit == each.low else limit + 1
        with pytest.raises(UsageError, match=name):
            settings.changed({name: int(beyond) if each.type == "int" else beyond})


def test_the_file_has_every_key_at_the_start(manager: RuntimeConfigManager) -> None:
    values = json.loads(manager.path.read_text())
    assert values.pop("schema") == 1
    assert values == Settings(BASE).values()
    assert manager.get("max_lr") == BASE.learning_rate
    assert manager.get("nothing", 5) == 5


def test_several_changes_are_one(manager: RuntimeConfigManager) -> None:
    changes = manager.update({"weight_full": 0.4, "weight_half": 0.4})
    assert changes == {"weight_full": (0.5, 0.4), "weight_half": (0.3, 0.4)}
    assert manager.update({"weight_full": 0.4}) == {}
    other = RuntimeConfigManager(manager.path, BASE)
    assert other.get("weight_half") == 0.4
    assert manager.set("max_lr", 1e-4) == {"max_lr": (BASE.learning_rate, 1e-4)}
    assert other.check_for_updates() == {"max_lr": (BASE.learning_rate, 1e-4)}
    assert other.check_for_updates() == {}
    assert manager.check_for_updates() == {}


@pytest.mark.parametrize(("changes", "word"), WRONG)
def test_a_wrong_change_changes_nothing_and_says_why(
    manager: RuntimeConfigManager, changes: dict[str, Any], word: str
) -> None:
    before = manager.path.read_bytes()
    with pytest.raises(UsageError, match=word):
        manager.update({"gradient_clip": 2.0, **changes})
    assert manager.path.read_bytes() == before
    assert manager.get("gradient_clip") == BASE.gradient_clip


@pytest.mark.parametrize(("changes", "word"), WRONG)
def test_a_wrong_edit_is_answered_beside_the_file(
    manager: RuntimeConfigManager, changes: dict[str, Any], word: str, caplog: pytest.LogCaptureFixture
) -> None:
    edit(manager, gradient_clip=2.0)
    edit(manager, **changes)
    assert manager.check_for_updates() == {}
    status = json.loads(manager.status_path.read_text())
    assert status["accepted"] is False
    assert word in status["problem"]
    assert word in caplog.text
    assert manager.get("gradient_clip") == BASE.gradient_clip
    caplog.clear()
    assert manager.check_for_updates() == {}
    assert not caplog.records


@pytest.mark.parametrize("text", ["", "{", '{"max_lr": ', "[1]", '{"schema": 2}', "\xff"])
def test_a_broken_or_half_written_file_changes_nothing_until_it_is_whole(
    manager: RuntimeConfigManager, text: str
) -> None:
    manager.path.write_bytes(text.encode("latin-1"))
    assert manager.check_for_updates() == {}
    assert json.loads(manager.status_path.read_text())["accepted"] is False
    assert manager.settings() == Settings(BASE)
    with pytest.raises(ArtifactError, match="runtime_config"):
        manager.update({"max_lr": 1e-4})
    manager.path.write_text(json.dumps({"schema": 1, "max_lr": 1e-4}))
    assert manager.check_for_updates() == {"max_lr": (BASE.learning_rate, 1e-4)}
    status = json.loads(manager.status_path.read_text())
    assert status == {
        "schema": 1,
        "accepted": True,
        "problem": None,
        "step": None,
        "changes": {"max_lr": [BASE.learning_rate, 1e-4]},
    }


def test_content_decides_not_the_date(manager: RuntimeConfigManager) -> None:
    import os

    stat = manager.path.stat()
    edit(manager, max_lr=1e-4)
    os.utime(manager.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert list(manager.check_for_updates()) == ["max_lr"]
    manager.path.touch()
    assert manager.check_for_updates() == {}


def test_who_wrote_is_known(manager: RuntimeConfigManager) -> None:
    manager.update({"max_lr": 1e-4})
    assert manager.writer() == "python"
    edit(manager, max_lr=2e-4)
    assert manager.writer() == "file"


def test_without_validation_values_can_be_written_one_by_one(manager: RuntimeConfigManager) -> None:
    reader = RuntimeConfigManager(manager.path, BASE)
    manager.set("weight_full", 0.1, validate=False)
    assert reader.check_for_updates() == {}
    manager.set("weight_half", 0.7, validate=False)
    assert reader.check_for_updates() == {"weight_full": (0.5, 0.1), "weight_half": (0.3, 0.7)}
    with pytest.raises(UsageError, match="JSON"):
        manager.set("weight_half", float("nan"), validate=False)


KEYS = ("log_interval", "validate_interval", "checkpoint_interval", "preview_interval")


def _count(path: Path, key: str, most: int) -> None:
    manager = RuntimeConfigManager(path, BASE)
    for value in range(1, most + 1):
        manager.set(key, value)


def test_threads_and_processes_lose_nothing(manager: RuntimeConfigManager) -> None:
    """Each writer owns a key; whatever they do at the same time, every key ends with its writer's last value."""
    context = multiprocessing.get_context("forkserver")
    workers: list[Any] = [context.Process(target=_count, args=(manager.path, key, 30)) for key in KEYS[:2]]
    workers += [threading.Thread(target=_count, args=(manager.path, key, 30)) for key in KEYS[2:]]
    for worker in workers:
        worker.start()
    seen: dict[str, Any] = {}
    while any(worker.is_alive() for worker in workers):
        # Whoever reads never sees half a file.
        json.loads(manager.path.read_text())
        seen |= {key: new for key, (_, new) in manager.check_for_updates().items()}
    for worker in workers:
        worker.join()
    seen |= {key: new for key, (_, new) in manager.check_for_updates().items()}
    assert seen == dict.fromkeys(KEYS, 30)
    assert [manager.get(key) for key in KEYS] == [30] * 4


def test_threads_share_a_manager(manager: RuntimeConfigManager) -> None:
    def count(key: str) -> None:
        for value in range(1, 21):
            manager.set(key, value)

    threads = [threading.Thread(target=count, args=(key,)) for key in KEYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [manager.get(key) for key in KEYS] == [20] * 4


@given(
    st.dictionaries(
        st.sampled_from([*everything(), "unknown"]),
        st.one_of(st.floats(allow_nan=True), st.integers(-5, 5000), st.text(max_size=3), st.none(), st.booleans()),
        max_size=3,
    )
)
def test_whatever_is_asked_for_settings_stay_valid(changes: dict[str, Any]) -> None:
    settings = Settings(BASE)
    try:
        after = settings.changed(changes)
    except UsageError:
        return
    assert after.values() == {**settings.values(), **changes}
    VQVAEConfig.model_validate(after.training.model_dump(), strict=True)


def test_snapshots_are_kept_compared_and_loaded(manager: RuntimeConfigManager) -> None:
    manager.save_snapshot(0)
    manager.update({"max_lr": 1e-4, "gradient_clip": 2.0})
    manager.save_snapshot(120)
    assert [(each.step, each.changed) for each in manager.list_snapshots()] == [
        (0, {}),
        (120, {"max_lr": (BASE.learning_rate, 1e-4), "gradient_clip": (BASE.gradient_clip, 2.0)}),
    ]
    assert manager.compare_snapshots(120, 0) == {
        "max_lr": (1e-4, BASE.learning_rate),
        "gradient_clip": (2.0, BASE.gradient_clip),
    }
    assert manager.load_snapshot(0) == manager.compare_snapshots(120, 0)
    assert manager.get("max_lr") == BASE.learning_rate
    with pytest.raises(UsageError, match="no snapshot of step 7"):
        manager.load_snapshot(7)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        RuntimeConfigManager(tmp_path / "file" / "runtime_config.json", BASE)


def test_a_mapping_of_parameters_will_do(tmp_path: Path) -> None:
    manager = RuntimeConfigManager(tmp_path / "c.json", {"learning_rate": 2e-3})
    assert manager.get("max_lr") == 2e-3
    with pytest.raises(DistillError, match="unknown parameter"):
        RuntimeConfigManager(tmp_path / "d.json", {"learning": 2e-3})


def test_no_torch_is_loaded() -> None:
    code = "import sys, distill.live.runtime_config; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "runtime-config.md"


def test_the_tables_of_the_page_are_current() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_runtime_config.py"))
    text = PAGE.read_text(encoding="utf-8")
    assert script["with_tables"](text) == text, "run scripts/write_runtime_config.py"
    assert all(f"| `{name}` |" in text for name in everything())


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(example, str(PAGE), "exec"), {})  # noqa: S102, it is ours


def test_what_somebody_writes_while_an_edit_is_taken_up_stays_theirs(manager: RuntimeConfigManager) -> None:
    other = RuntimeConfigManager(manager.path, BASE)
    other.update({"max_lr": 1e-4})
    changes = manager.check_for_updates()
    assert changes is not None
    other.update({"gradient_clip": 2.0})
    manager.acknowledge(changes, 3)
    assert manager.check_for_updates() == {"gradient_clip": (BASE.gradient_clip, 2.0)}
    assert manager.writer() == "python"
