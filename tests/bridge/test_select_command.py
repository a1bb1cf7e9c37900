"""What the command that selects prints and writes, and what it refuses before the work."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from al_lightning.select import NOTHING_LABELED, configured, open_summaries, select
from al_lightning.select.__main__ import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "acquisition"


@pytest.fixture
def five(tmp_path):
    """Writes five units, and the words that select from them."""

    def five(**arrays):
        np.savez(tmp_path / "pool.npz", **({"token": np.array(list("abcde"))} | arrays))
        return ["--summaries", str(tmp_path / "pool.npz"), "--out", str(tmp_path / "picks.csv"), "--budget", "2"]

    return five


def test_the_table_of_the_picks(five, tmp_path, capsys):
    words = five(
        entropy=np.array([0.5, 2, 1, 2, 0], np.float16),
        class_histogram=np.array([[1, 0], [0.5, 0.5], [1, 0], [0, 1], [1, 0]], np.float32),
        class_names=["free", "car"],
    )
    assert main([*words, "--config", str(CONFIGS / "entropy.yaml")]) == 0
    assert (tmp_path / "picks.csv").read_text().splitlines() == [
        "token,rank,score,entropy,entropy_normalized", "b,1,2.0,2.0,2.0", "d,2,2.0,2.0,2.0"
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "entropy: entropy" in said
    assert "2 of 5 units" in said
    assert re.search(r"free +.{1,3}70.0000% .{1,3}25.0000% .{1,3}0.36", said)
    assert re.search(r"car +.{1,3}30.0000% .{1,3}75.0000% .{1,3}2.50", said)


@pytest.mark.parametrize(
    ("config", "labeled", "message"),
    [
        ("entropy", None, "criterion 'entropy' needs more: .*pool.npz has no 'entropy'; it has class_histogram, embed"),
        ("cas", ["class_histogram"], "criterion 'uncertainty' .*pool.npz has no 'frequency_weighted_entropy'"),
        ("cas", ["embedding"], "criterion 'inter' .*labeled.npz has no 'class_histogram'; it has embedding"),
        ("cas", None, r"the labeled set \(--labeled is not given\) has no 'class_histogram'"),
        ("value", ["embedding"], "the representation needs more: .*labeled.npz has no 'error_window'"),
    ],
)
def test_a_missing_field_is_named_with_its_file_before_the_work(five, tmp_path, capsys, config, labeled, message):
    words = five(class_histogram=np.full((5, 2), 0.5), embedding=np.zeros((5, 3)))
    if labeled:
        np.savez(tmp_path / "labeled.npz", token=["x", "y"], **{name: np.full((2, 2), 0.5) for name in labeled})
        words += ["--labeled", str(tmp_path / "labeled.npz")]
    assert main([*words, "--config", str(CONFIGS / f"{config}.yaml")]) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"entropy": [0, 1, np.nan, 2, np.inf]}, "'entropy' of .*pool.npz is not finite for 2 of 5 tokens: c, e"),
        ({"entropy": np.zeros(4)}, r"must be .* with a row for each of 5 tokens, got float64 \(4,\)"),
        ({"entropy": np.zeros(5, int)}, "must be float16, float32, float64 or bool .* got int64"),
        ({"entropy": np.zeros((5, 2))}, "scores of 'entropy' have shape"),
        ({"token": ["a", "b", "a", "c", "d"]}, "pool.npz names 1 tokens twice; the first: a"),
        ({"token": np.arange(5)}, r"'token' of .* must be a list of text, as np.array\(names, dtype=str\)"),
        ({"token": np.array(list("abcde"), object)}, "cannot read 'token'"),
        ({"entropy": np.array([None] * 5)}, "cannot read 'entropy'"),
        ({"entropy": np.ones(5), "--budget": "6"}, "budget must be between 1 and the 5 candidates"),
        ({"token": np.array([], str)}, "'token' of .*pool.npz is empty"),
        ({"entropy": np.ones(5), "class_histogram": np.full((5, 2), np.nan)}, "'class_histogram' of .* is not finite"),
        (
            {"entropy": np.ones(5), "class_histogram": [[0.5, 0.5]] * 3 + [[0.6, 0.5], [1.5, -0.5]]},
            r"is no histogram \(not negative, sum 1\) for 2 of 5 tokens: d, e; the sum of the first is 1.1: divide",
        ),
        (
            {"entropy": np.ones(5), "class_histogram": [[1.25, -0.25]] * 5},
            "for 5 of 5 tokens: a, b, c; the least share of the first is -0.25$",
        ),
        ({"entropy": np.ones(5), "class_histogram": np.ones((5, 0))}, r"must be \(N, K\) shares"),
        ({"entropy": np.ones(5), "class_histogram": np.ones(5)}, r"must be \(N, K\) shares, got torch.float64 \(5,\)"),
    ],
)
def test_what_is_not_valid_is_refused(five, tmp_path, capsys, arrays, message):
    budget = arrays.pop("--budget", "2")
    words = five(**arrays)
    assert main([*words, "--config", str(CONFIGS / "entropy.yaml"), "--budget", budget]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "picks.csv").exists()


@pytest.fixture
def without_work(monkeypatch):
    """No selection may begin."""
    monkeypatch.setattr("al_lightning.select.__main__.select", lambda *_: pytest.fail("the selection has begun"))


@pytest.mark.usefixtures("without_work")
def test_what_cannot_be_written_is_said_before_the_work(five, tmp_path, capsys):
    words = [*five(entropy=np.ones(5)), "--config", str(CONFIGS / "entropy.yaml")]
    (tmp_path / "old.csv").write_text("token\na\n")
    for out, message in (("old.csv", "old.csv exists; remove it or choose"), ("no/p.csv", "there is no folder .*/no ")):
        assert main([*words, "--out", str(tmp_path / out)]) == 1
        assert re.search(message, capsys.readouterr().err)
    assert (tmp_path / "old.csv").read_text() == "token\na\n"
    assert not (tmp_path / "no").exists()


@pytest.mark.usefixtures("without_work")
def test_names_that_are_not_one_for_each_class_are_refused_before_the_work(five, capsys):
    words = five(entropy=np.ones(5), class_histogram=np.full((5, 2), 0.5), class_names=["a"])
    assert main([*words, "--config", str(CONFIGS / "entropy.yaml")]) == 1
    assert "has 1 class_names for the 2 classes of 'class_histogram'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["class_histogram", "embedding"])
def test_fields_of_another_width_are_named_with_both_files(five, tmp_path, monkeypatch, capsys, name):
    words = five(class_histogram=np.eye(5), embedding=np.eye(5), frequency_weighted_entropy=np.ones(5))
    np.savez(tmp_path / "labeled.npz", token=["x"], **{name: [[0.25] * 4]})
    words += ["--labeled", str(tmp_path / "labeled.npz"), "--config"]
    monkeypatch.setattr("al_lightning.acquisition.Acquisition.select", lambda *_: pytest.fail("it has begun"))
    assert main([*words, str(CONFIGS / f"{'coreset' if name == 'embedding' else 'cas'}.yaml")]) == 1
    message = rf"'{name}' of .*pool.npz and of .*labeled.npz must have .* got \(5,\) and \(4,\)"
    assert re.search(message, capsys.readouterr().err)


def test_the_first_units_give_no_warnings(caplog, tmp_path):
    """Of 70 units, 64 are tried first: fewer than the neighbors of one."""
    (tmp_path / "rare.yaml").write_text(
        "_target_: al_lightning.acquisition.Acquisition\n"
        "criteria: {rarity: {_target_: al_lightning.acquisition.Rarity, neighbors: 65}}\n"
    )
    np.savez(tmp_path / "pool.npz", token=[f"t{row}" for row in range(70)], embedding=np.eye(70))
    pool, labeled = open_summaries(tmp_path / "pool.npz"), NOTHING_LABELED
    select(pool, labeled, configured(tmp_path / "rare.yaml")[0], 2)
    assert not caplog.records
    select(pool, labeled, configured(tmp_path / "rare.yaml", ["acquisition.criteria.rarity.neighbors=70"])[0], 2)
    assert "70 neighbors were asked for, of 69 other scenes" in caplog.text


def test_histograms_in_half_precision(tmp_path):
    """As dumped predictions hold them: 2e-4 off the sum 1."""
    exact = np.random.default_rng(0).dirichlet([30, *[0.3] * 17], 200)
    half = exact.astype(np.float16)
    assert (np.abs(half.sum(1, dtype=float) - 1) > 1e-4).any()
    for part, rows in (("pool", slice(0, 150)), ("labeled", slice(150, 200))):
        tokens = [f"{part}{row}" for row in range(len(half[rows]))]
        np.savez(
            tmp_path / f"{part}.npz",
            token=tokens,
            class_histogram=half[rows],
            frequency_weighted_entropy=exact[rows, 1],
        )
    read = open_summaries(tmp_path / "pool.npz")["class_histogram"]
    np.testing.assert_allclose(read.sum(1, dtype=torch.float64), 1, atol=1e-6)
    np.testing.assert_allclose(read, exact[:150], atol=5e-4)
    files = ["--summaries", str(tmp_path / "pool.npz"), "--labeled", str(tmp_path / "labeled.npz")]
    out = ["--budget", "5", "--out", str(tmp_path / "picks.csv")]
    assert main([*files, "--config", str(CONFIGS / "cas.yaml"), *out]) == 0


def test_units_that_are_labeled_are_no_candidates(five, tmp_path, capsys):
    words = [*five(embedding=np.eye(5, 3)), "--config", str(CONFIGS / "coreset.yaml"), "--labeled"]
    np.savez(tmp_path / "labeled.npz", token=["x", "c", "a"], embedding=np.zeros((3, 3)))
    assert main([*words, str(tmp_path / "labeled.npz")]) == 1
    assert re.search(r"2 units are in .*pool.npz and in .*labeled.npz: a, c;", capsys.readouterr().err)
    (tmp_path / "labeled.txt").write_text("a\nz\n")
    assert main([*words, str(tmp_path / "labeled.txt")]) == 1
    assert re.search(r"1 of 2 labeled units are not in .*pool.npz: z of .*labeled.txt", capsys.readouterr().err)
    assert main([*words, str(tmp_path / "labeled.txt"), "--labeled", str(tmp_path / "labeled.npz")]) == 1
    assert "give one --labeled .npz, or lists" in capsys.readouterr().err
    (tmp_path / "labeled.txt").write_text("\n".join("abcde"))
    assert main([*words, str(tmp_path / "labeled.txt")]) == 1
    assert re.search("no candidate is left in .*pool.npz: all 5 units are labeled", capsys.readouterr().err)


def test_files_that_are_none_are_named(tmp_path, capsys):
    words = ["--config", str(CONFIGS / "random.yaml"), "--budget", "1", "--out", str(tmp_path / "p.csv"), "--summaries"]
    (tmp_path / "text.npz").write_text("token")
    (tmp_path / "damaged.npz").write_bytes(b"PK damaged")
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "without.npz", entropy=np.zeros(3))
    for name, message in {
        "absent.npz": "No such file", "text.npz": "as np.savez writes it; it begins with b'token'",
        "array.npy": "must be an .npz file", "without.npz": "has no 'token', the names of its units; it has entropy",
        "damaged.npz": "cannot read the summaries of",
    }.items():  # fmt: skip
        assert main([*words, str(tmp_path / name)]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "word", "message"),
    [
        ("cas", "acquisition.weigths.intra=0", "unknown key 'acquisition.weigths'; did you mean 'weights'"),
        ("cas", "acquisition.weights.intra=-1", "weights must be finite and not negative"),
        ("cas", "task.lr=1", "unknown key 'task'"),
        ("cas", "acquisition.scope=nowhere", "'acquisition.scope' must be"),
        ("value", "summarizer.horizon=0", "got horizon 0"),
        ("absent", "acquisition.scope=pool", "cannot read .*absent.yaml as YAML"),
    ],
)
def test_a_wrong_configuration_is_refused(five, capsys, config, word, message):
    assert main([*five(), "--config", str(CONFIGS / f"{config}.yaml"), word]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_weight_of_0_leaves_a_criterion_and_its_field_out(five, tmp_path):
    words = five(class_histogram=np.eye(5))
    np.savez(tmp_path / "labeled.npz", token=["x"], class_histogram=np.full((1, 5), 0.2))
    words += ["--labeled", str(tmp_path / "labeled.npz"), "--config", str(CONFIGS / "cas.yaml")]
    assert main(words) == 1
    assert main([*words, "acquisition.weights.uncertainty=0"]) == 0


def test_wrong_use_is_refused(five):
    with pytest.raises(SystemExit) as stop:
        main([*five(), "--config", str(CONFIGS / "random.yaml"), "--out", "picks.xls"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--labeled", "seed.txt", "picks_0.csv"], "repeat --labeled: --labeled picks_0.csv"),
        (["acquisition=coreset"], "acquisition=coreset is a word of train.py; choose another --config"),
    ],
)
def test_words_that_are_none_are_explained(five, capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        main([*five(), "--config", str(CONFIGS / "cas.yaml"), *words])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
