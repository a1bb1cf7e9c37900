from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from al_lightning.config import ConfigError, Oracle, compose, describe_keys, differing_keys, instantiate
from al_lightning.config.components import builds

EXPERIMENT = """
description: a test
defaults:
  - data: real
  - acquisition: first
task: {_target_: fake_components.Plain}
summarizer: {_target_: fake_components.Plain}
loop: {cycles: 3, seed_size: 2, budget: 2}
"""
DATA = """
_target_: fake_components.Outer
root: ???
inner: {_target_: fake_components.Inner, size: 5}
parts:
  one: {_target_: fake_components.Inner, name: one}
"""


@pytest.fixture
def config_dir(tmp_path: Path) -> Path:
    files = {
        "experiment/demo": EXPERIMENT,
        "data/real": DATA,
        "acquisition/first": "{_target_: fake_components.Plain, weight: 1.0}",
        "acquisition/second": "{_target_: fake_components.Inner, name: second}",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


GIVEN = ("experiment=demo", "data.root=/somewhere")


def test_layers_override_each_other_in_order(config_dir: Path) -> None:
    config, resolved = compose(config_dir, [*GIVEN, "loop.budget=7", "loop.budget=9", "oracle=external"])
    assert (config.loop.cycles, config.loop.seed_size, config.loop.budget) == (3, 2, 9)
    assert config.loader.batch_size == 1
    assert config.oracle is Oracle.external
    assert config.run_dir == "runs/demo/0"
    assert resolved["oracle"] == "external"
    assert resolved["data"]["inner"] == {"_target_": "fake_components.Inner", "size": 5}
    assert yaml.safe_load(yaml.safe_dump(resolved)) == resolved


def test_a_group_choice_replaces_the_whole_group_and_dots_then_lead_into_it(config_dir: Path) -> None:
    _, resolved = compose(config_dir, [*GIVEN, "acquisition.size=4", "acquisition=second"])
    assert resolved["acquisition"] == {"_target_": "fake_components.Inner", "name": "second", "size": 4}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "unknown experiment 'occupancy_sim'"),
        ([*GIVEN, "prepare={_target_: fake_components.Plain, wieght: 1}"], "unknown key 'prepare.wieght'"),
        (["experiment=dmo"], "unknown experiment 'dmo'; did you mean 'demo'"),
        (["experiment=demo"], "'data.root' is required"),
        ([*GIVEN, "budget"], "cannot read 'budget': write key=value"),
        ([*GIVEN, "--budget=3"], "cannot read '--budget=3'"),
        ([*GIVEN, "sead=3"], "unknown key 'sead'; did you mean 'seed'"),
        ([*GIVEN, "loop.buget=3"], "unknown key 'loop.buget'; did you mean 'budget'"),
        ([*GIVEN, "loop.budget.x=3"], "'loop.budget' holds a value and no keys"),
        ([*GIVEN, "loop.budget=many"], "'loop.budget': Value 'many'"),
        ([*GIVEN, "loop.budget=0"], "'loop.budget' must be at least 1"),
        ([*GIVEN, "seed=-1"], "'seed' must not be negative"),
        ([*GIVEN, "oracle=nobody"], "'oracle': Invalid value 'nobody'"),
        ([*GIVEN, "acquisition=frist"], "unknown acquisition 'frist'; did you mean 'first'"),
        ([*GIVEN, "acquisition.wieght=0"], "unknown key 'acquisition.wieght'; did you mean 'weight'"),
        ([*GIVEN, "acquisition.weight=heavy"], "'acquisition.weight' must be float, got 'heavy'"),
        ([*GIVEN, "acquisition.weight=true"], "'acquisition.weight' must be float, got True"),
        ([*GIVEN, "data.inner.siez=3"], "unknown key 'data.inner.siez'; did you mean 'size'"),
        ([*GIVEN, "data.inner.size=2.5"], "'data.inner.size' must be int, got 2.5"),
        ([*GIVEN, "data.parts.two.name=x"], "unknown key 'data.parts.two'; did you mean 'one'"),
        ([*GIVEN, "data.shape=[1,2,3]"], "'data.shape' must be tuple"),
        ([*GIVEN, "data.shape=[1,x]"], "'data.shape' must be tuple"),
        ([*GIVEN, "data.factors=[a]"], "'data.factors' must be list"),
        ([*GIVEN, "data.kind=c"], "'data.kind' must be Literal['a', 'b'], got 'c'"),
        ([*GIVEN, "data.inner=3"], "'data.inner' must be"),
        ([*GIVEN, "data.split=val"], "unknown key 'data.split'"),
        ([*GIVEN, "data.parts={one: {name: x}, tow: {name: y}}"], "unknown key 'data.parts.tow'"),
        ([*GIVEN, "data.inner={_target_: fake_components.Plain}"], "'data.inner' must be"),
        ([*GIVEN, "callbacks.mine.speed=3"], "unknown key 'callbacks.mine'"),
        (
            [*GIVEN, "data._target_=fake_components.Outr"],
            "unknown component of fake_components in data._target_ 'Outr'",
        ),
        ([*GIVEN, "data._target_=nowhere.Outer"], "cannot import module 'nowhere'"),
    ],
)
def test_wrong_words_are_refused_with_the_key_and_what_would_be_right(
    config_dir: Path, words: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        compose(config_dir, words)
    assert message in str(error.value)


def test_unknown_keys_in_files_are_refused_too(config_dir: Path) -> None:
    path = config_dir / "experiment/demo.yaml"
    path.write_text(EXPERIMENT.replace("budget: 2", "budgets: 2"))
    with pytest.raises(ConfigError, match=r"unknown key 'loop\.budgets'; did you mean 'budget'"):
        compose(config_dir, GIVEN)
    path.write_text(EXPERIMENT.replace("budget: 2", "budget: {x: 1}"))
    with pytest.raises(ConfigError, match="budget"):
        compose(config_dir, GIVEN)


def test_an_argument_left_at_its_default_can_be_set(config_dir: Path) -> None:
    _, resolved = compose(config_dir, [*GIVEN, "data.flag=true", "data.rate=3", "data.factors=[1, 2.5]"])
    built = instantiate(resolved["data"], "data", split="train")
    assert (built.flag, built.rate, built.factors, built.split) == (True, 3, [1, 2.5], "train")


def test_numbers_and_texts_are_read_as_what_they_are_for(config_dir: Path) -> None:
    words = ["data.rate=1e-4", "run_dir=2026_10_18", "tracking.group=no", "tracking.entity=null"]
    config, resolved = compose(config_dir, [*GIVEN, *words])
    assert resolved["data"]["rate"] == 1e-4
    assert (config.run_dir, config.tracking.group, config.tracking.entity) == ("2026_10_18", "no", None)


@pytest.mark.parametrize("text", ["/data/my #1", "2024_01", "on", "[a", "a: b", "#1", "1e3"])
def test_a_text_is_taken_as_it_stands(config_dir: Path, text: str) -> None:
    words = (f"data.root={text}", f"data.parts.one.name={text}", f"run_dir={text}")
    _, resolved = compose(config_dir, [*GIVEN, *words])
    assert (resolved["data"]["root"], resolved["data"]["parts"]["one"]["name"], resolved["run_dir"]) == (text,) * 3


@pytest.mark.parametrize("null", ["null", "None", ""])
def test_null_is_nothing_for_every_type(config_dir: Path, null: str) -> None:
    words = (f"tracking.group={null}", f"loader.samples_per_epoch={null}", f"data.inner={null}")
    config, resolved = compose(config_dir, [*GIVEN, *words])
    assert (config.tracking.group, config.loader.samples_per_epoch, resolved["data"]["inner"]) == (None, None, None)
    with pytest.raises(ConfigError, match=r"'data\.root' must be str, got None"):
        compose(config_dir, [*GIVEN, f"data.root={null}"])


def test_an_empty_mapping_empties_and_null_drops(config_dir: Path) -> None:
    path = config_dir / "experiment/demo.yaml"
    callbacks = "{a: {_target_: fake_components.Plain}, b: {_target_: fake_components.Plain, weight: 2.0}}"
    path.write_text(EXPERIMENT + f"callbacks: {callbacks}\nprepare: {{_target_: fake_components.Plain}}\n")
    resolved = compose(config_dir, [*GIVEN, "callbacks.a=null", "data.parts={}"])[1]
    assert resolved["callbacks"] == {"b": {"_target_": "fake_components.Plain", "weight": 2.0}}
    assert resolved["data"]["parts"] == {}
    assert resolved["prepare"]
    assert compose(config_dir, [*GIVEN, "callbacks={}", "prepare={}"])[1]["callbacks"] == {}
    assert not compose(config_dir, [*GIVEN, "prepare={}"])[1]["prepare"]
    assert compose(config_dir, [*GIVEN, "prepare=null"])[1]["prepare"] is None
    with pytest.raises(ConfigError, match=r"unknown key 'callbacks\.c'"):
        compose(config_dir, [*GIVEN, "callbacks.c=null"])


def test_naming_the_same_file_again_keeps_what_the_experiment_says_on_top(config_dir: Path) -> None:
    path = config_dir / "experiment/demo.yaml"
    path.write_text(EXPERIMENT + "acquisition: {weight: 3.0}\n")
    assert compose(config_dir, [*GIVEN, "acquisition=first"])[1]["acquisition"]["weight"] == 3.0
    assert "weight" not in compose(config_dir, [*GIVEN, "acquisition=second"])[1]["acquisition"]


class HasPick(Protocol):
    def pick(self, units: int, budget: int) -> int: ...


class Picker:
    def pick(self, units: int, budget: int) -> int:
        return units + budget


class Other:
    def pick(self, units: int) -> int:
        return units


def make_picker() -> Picker:
    return Picker()


@pytest.mark.parametrize(
    ("target", "kind", "expected"),
    [(Picker, HasPick, True), (make_picker, HasPick, True), (Other, HasPick, False), (Path, HasPick, False),
     (Picker, Picker, True), (Other, Picker, False), (make_picker, Other, False), (Other, Any, True)],
)  # fmt: skip
def test_a_component_must_be_what_its_place_asks_for(target: Any, kind: Any, expected: bool) -> None:
    assert builds(target, kind) is expected


def test_components_are_built_inside_out_with_tuples_where_the_signature_has_them(config_dir: Path) -> None:
    _, resolved = compose(config_dir, [*GIVEN, "data.shape=[4,5]"])
    built = instantiate(resolved["data"], "data", split="val")
    assert built.shape == (4, 5)
    assert built.inner.size == 5
    assert built.parts["one"].name == "one"


def test_a_refused_value_names_its_node(config_dir: Path) -> None:
    _, resolved = compose(config_dir, [*GIVEN, "data.rate=-1"])
    with pytest.raises(ConfigError, match="data: rate must not be negative"):
        instantiate(resolved["data"], "data", split="val")


def test_differing_keys_name_leaves() -> None:
    old = {"a": 1, "b": {"c": [1], "d": 2}}
    assert differing_keys(old, {"a": 1, "b": {"c": [1], "d": 2}}) == []
    assert differing_keys(old, {"a": 2, "b": {"c": [1], "e": 2}}) == ["a: 1 -> 2", "b.d: 2 -> None", "b.e: None -> 2"]


def test_every_typed_key_is_described() -> None:
    keys = {name: (default, text) for name, default, text in describe_keys()}
    for name in ("experiment", "seed", "run_dir", "loop.cycles", "loop.seed_size", "loop.budget", "trainer.max_epochs"):
        assert keys[name][1]
    assert keys["tracking.mode"][0] == "offline"
    assert keys["loop.budget"][0] == "required"
