"""Labeled subsets as info files: real files in, the same fields and order out."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_pickles import same

from al_lightning.data import LabelPool, VADInfos
from al_lightning.data.pickles import read_pickle
from al_lightning.engine import RunDirectory
from al_lightning.export import main

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SCENES = ("scene-0103", "scene-0916")


def real(path):
    if not path.is_file():
        pytest.skip(f"needs the real keyframes {path}")
    return read_pickle(path, "keyframes")


@pytest.fixture(scope="module")
def vad():
    """VAD's keyframes of two real scenes, those of the second one first."""
    first, second = (real(DATA / "planning" / f"vad_infos_{scene}.pkl") for scene in SCENES)
    return {"infos": second["infos"] + first["infos"], "metadata": first["metadata"]}


@pytest.fixture(scope="module")
def mmdet3d():
    """A real keyframe of mmdet3d's own, and copies of it under other tokens."""
    content = real(next(DATA.glob("nuscenes_keyframes/scene0061*/*.pkl"), DATA / "nuscenes_keyframes/scene0061/*.pkl"))
    (keyframe,) = content["data_list"]
    copies = [{**keyframe, "sample_idx": k, "token": f"copy{k}", "timestamp": 9.0 - k} for k in range(1, 6)]
    return {**content, "data_list": [keyframe, *copies]}


@pytest.fixture
def write(tmp_path):
    def write(content, name="infos.pkl"):
        (tmp_path / name).write_bytes(pickle.dumps(content, 2))
        return str(tmp_path / name)

    return write


@pytest.fixture
def run(tmp_path):
    def run(acquired_at, config=None, rows=None):
        root = tmp_path / "run"
        root.mkdir()
        if rows:
            RunDirectory(root).write_rows(rows)
        pool = LabelPool(list(acquired_at), np.array(list(acquired_at.values())))
        (root / "pool.csv").write_text(pool.to_csv())
        (root / "config.yaml").write_text(yaml.safe_dump({"data": config or {}}))
        return str(root)

    return run


def exported(tmp_path, *words):
    out = tmp_path / "out.pkl"
    out.unlink(missing_ok=True)
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_bytes()[:2] == b"\x80\x04"
    with out.open("rb") as file:  # as a code base of others does
        content = pickle.load(file)
    assert same(content, read_pickle(out, "keyframes"))
    return content


def test_vads_keyframes_are_cut_down_to_those_of_a_cycle(vad, write, run, tmp_path, capsys):
    tokens = [info["token"] for info in vad["infos"]]
    cycles = np.random.default_rng(0).integers(-1, 3, len(tokens)).tolist()
    root, infos = run(dict(zip(reversed(tokens), reversed(cycles), strict=True))), write(vad)
    for words, wanted in {
        ("--cycle", "1"): {0, 1}, (): {0, 1, 2}, ("--cycle", "1", "--part", "new"): {1},
        ("--cycle", "0", "--part", "pool"): {-1, 1, 2},
    }.items():  # fmt: skip
        content = exported(tmp_path, root, "--format", "vad", "--infos", infos, *words)
        kept = [info for info, cycle in zip(vad["infos"], cycles, strict=True) if cycle in wanted]
        assert same(content, {**vad, "infos": kept})
        said = capsys.readouterr().out
        assert f"{len(kept)} of {len(tokens)} keyframes" in said
        assert f"{len(kept)} units" in said
        for cycle in wanted if -1 not in wanted else ():
            assert f"{cycles.count(cycle)} in cycle {cycle}" in said


def test_scenes_hold_their_keyframes(vad, write, run, tmp_path):
    scene = vad["infos"][-1]["scene_token"]
    content = exported(
        tmp_path, run({scene: 0, vad["infos"][0]["scene_token"]: -1}), "--format", "vad", "--infos", write(vad)
    )
    assert same(content["infos"], vad["infos"][41:])


def test_clips_are_those_of_the_data_set(vad, write, run, tmp_path):
    shuffled = {**vad, "infos": [vad["infos"][k] for k in np.random.default_rng(1).permutation(81)]}
    infos = write(shuffled)
    dataset = VADInfos(infos, infos, clip=7)
    assert len(dataset.units) == 10
    labeled = {1, 4, 9}
    pool = {unit: 0 if number in labeled else -1 for number, unit in enumerate(dataset.units)}
    sizes = dict(zip(dataset.units, np.bincount(dataset.unit_of).tolist(), strict=True))
    content = exported(tmp_path, run(pool, rows=sizes), "--format", "vad", "--infos", infos)
    rows = [row for row in range(len(dataset)) if dataset.unit_of[row] in labeled]
    expected = {dataset._infos[row]["token"] for row in rows}
    assert [info["token"] for info in content["infos"]] == [
        info["token"] for info in shuffled["infos"] if info["token"] in expected
    ]
    assert len(content["infos"]) == len(rows)


def test_clips_are_not_cut_of_a_part_of_their_scene(write, run, tmp_path, capsys):
    """Of 12 of 20 keyframes, two clips would be cut as 6 and 6 instead of 10 and 10."""
    infos = [
        {"token": f"t{k:02d}", "scene_token": "s0", "timestamp": k, "gt_ego_fut_trajs": np.zeros((6, 2))}
        for k in range(20)
    ]
    root = run({"s0/00": 0, "s0/01": -1}, rows={"s0/00": 10, "s0/01": 10})
    content = exported(tmp_path, root, "--format", "vad", "--infos", write({"infos": infos}))
    assert same(content["infos"], infos[:10])
    words = [root, "--format", "vad", "--infos", write({"infos": infos[:12]}, "part.pkl")]
    out = tmp_path / "part_out.pkl"
    assert main([*words, "--out", str(out)]) == 1
    assert "clip s0/00 would have 6 keyframes of" in (said := capsys.readouterr().err)
    assert "but it has 10 in the run: clips need the info file with all keyframes of their scenes" in said
    (Path(root) / "rows.csv").unlink()
    assert main([*words, "--out", str(out)]) == 1
    assert "a number that is in no rows.csv" in capsys.readouterr().err
    (Path(root) / "rows.csv").write_text("unit,rows\ns0/00,many\n")
    assert main([*words, "--out", str(out)]) == 1
    assert "cannot read" in capsys.readouterr().err
    assert not out.exists()


def test_mmdet3ds_keyframes_keep_all_fields(mmdet3d, write, run, tmp_path):
    root = run({"copy3": 1, mmdet3d["data_list"][0]["token"]: 0, "copy1": -1})
    content = exported(tmp_path, root, "--format", "mmdet3d", "--infos", write(mmdet3d))
    assert same(content, {**mmdet3d, "data_list": [mmdet3d["data_list"][0], mmdet3d["data_list"][3]]})


def test_keyframes_without_tokens_are_named_by_their_numbers(mmdet3d, write, run, tmp_path, capsys):
    """As in the info files of KITTI and Waymo."""
    keyframes = [
        {key: keyframe[key] for key in keyframe if key != "token"} | {"sample_idx": number}
        for number, keyframe in enumerate(mmdet3d["data_list"])
    ]
    content = exported(
        tmp_path, run({"3": 0, "0": 1, "5": -1}), "--format", "mmdet3d", "--infos", write({"data_list": keyframes})
    )
    assert same(content["data_list"], [keyframes[0], keyframes[3]])
    assert main([str(tmp_path / "run"), "--format", "mmdet3d", "--infos", write({"data_list": keyframes[:1] * 2})]) == 1
    assert "holds the keyframe 0 twice" in capsys.readouterr().err


def plain(vad):
    """Keyframes of mmdet3d before 1.1, which do not say their scenes."""
    return {**vad, "infos": [{key: info[key] for key in info if key != "scene_token"} for info in vad["infos"]]}


def test_tables_say_the_scenes_of_keyframes_that_do_not(vad, write, run, tmp_path):
    tables = tmp_path / "nuscenes" / "v1.0-mini"
    tables.mkdir(parents=True)
    samples = [{"token": info["token"], "scene_token": info["scene_token"]} for info in vad["infos"]]
    scenes = [{"token": samples[row]["scene_token"], "name": name} for row, name in zip((41, 0), SCENES, strict=True)]
    (tables / "sample.json").write_text(json.dumps(samples))
    (tables / "scene.json").write_text(json.dumps(scenes))
    old, infos = plain(vad), write(plain(vad))
    expected = {**old, "infos": old["infos"][:41]}
    pool = {"scene-0916": 0, "scene-0103": -1}
    root = run(pool, {"root": str(tmp_path / "nuscenes"), "version": "v1.0-mini"})
    words = (root, "--format", "mmdet3d-v1", "--infos", infos)
    assert same(exported(tmp_path, *words), expected)  # the run knows the tables
    (Path(root) / "config.yaml").unlink()
    for folder in (tables, tables.parent):
        assert same(exported(tmp_path, *words, "--nuscenes", str(folder)), expected)


def test_scenes_without_tables_are_refused(vad, write, run, capsys):
    root = run({"scene-0916": 0, "scene-0103": 1})
    assert main([root, "--format", "mmdet3d-v1", "--infos", write(plain(vad))]) == 1
    said = capsys.readouterr().err
    assert "2 of 2 units" in said
    assert "scene-0103, scene-0916" in said
    assert "--nuscenes FOLDER" in said
    assert main([root, "--format", "mmdet3d-v1", "--infos", write(plain(vad)), "--nuscenes", root]) == 1
    assert "cannot read scenes and samples of the tables in" in capsys.readouterr().err


def test_keyframes_that_are_not_in_the_file_are_named(mmdet3d, write, run, tmp_path, capsys):
    root = run({"copy2": 0, **{f"lost{k}": 0 for k in range(4)}})
    out = tmp_path / "out.pkl"
    assert main([root, "--format", "mmdet3d", "--infos", write(mmdet3d), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "4 of 5 units" in said
    assert "among the 6 of" in said
    assert "lost0, lost1, lost2, ..." in said
    assert not out.exists()


def test_token_lists_are_taken_as_the_labeled_set_or_left_out(mmdet3d, write, tmp_path):
    (tmp_path / "seed.txt").write_text("copy5\n\ncopy1\n")
    (tmp_path / "picks.csv").write_text("rank,token,score\n1,copy2,0.5\n")
    lists = [str(tmp_path / "seed.txt"), str(tmp_path / "picks.csv")]
    words = ["--format", "mmdet3d", "--infos", write(mmdet3d)]
    kept = exported(tmp_path, *lists, *words)["data_list"]
    assert [keyframe["token"] for keyframe in kept] == ["copy1", "copy2", "copy5"]
    others = exported(tmp_path, *lists, *words, "--part", "pool")["data_list"]
    assert same(others, [mmdet3d["data_list"][row] for row in (0, 3, 4)])


@pytest.mark.parametrize(
    ("text", "message"),
    [("copy1\ncopy2\ncopy1\n", "1 tokens twice; the first: copy1"), ("a/01\n", "is a clip"), ("\n", "holds no token")],
)
def test_lists_that_are_none_are_refused(mmdet3d, write, tmp_path, capsys, text, message):
    (tmp_path / "list.txt").write_text(text)
    words = [str(tmp_path / "list.txt"), "--format", "mmdet3d", "--infos", write(mmdet3d)]
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_lists_of_units(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    root = run({"b": 1, "a": 0, "c": -1, "d": 2})
    assert main([root, "--format", "tokens", "--cycle", "1"]) == 0
    assert Path(f"{tmp_path.name}-run_cycle1_labeled.txt").read_text() == "b\na\n"
    assert main([root, "--format", "csv", "--out", "units.csv"]) == 0
    assert Path("units.csv").read_text() == "unit,acquired_at\nb,1\na,0\nd,2\n"
    assert "3 units (" in capsys.readouterr().out


def test_lists_become_one(tmp_path, capsys):
    """Names of SemanticKITTI's frames look like clips; here they are only names."""
    (tmp_path / "seed.txt").write_text("\ufeff00/000005\n00/000001\n", encoding="utf-8")
    (tmp_path / "picks.csv").write_text("\ufefftoken,rank\n08/000002,1\n", encoding="utf-8")
    lists = [str(tmp_path / "seed.txt"), str(tmp_path / "picks.csv")]
    out = tmp_path / "labeled.txt"
    assert main([*lists, "--format", "tokens", "--out", str(out)]) == 0
    assert out.read_text() == "00/000005\n00/000001\n08/000002\n"
    assert main([*lists, str(out), "--format", "tokens", "--out", str(tmp_path / "more.txt")]) == 1
    assert "names 3 tokens twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vad", {"data_list": []}, "has no list of keyframes under 'infos'.*'data_list': is it --format mmdet3d"),
        ("mmdet3d", {"infos": []}, "under 'data_list'.*'infos': is it --format mmdet3d-v1 or vad"),
        ("vad", [], "has no list of keyframes under 'infos', as --format vad needs$"),
        ("vad", {"infos": [{"token": "a"}]}, "keyframe 0 of .* has no scene_token, gt_ego_fut_trajs"),
        ("mmdet3d-v1", {"infos": [{"token": "a"}, 3]}, "keyframe 1 of .* has no token"),
        ("mmdet3d-v1", {"infos": [{"token": "a"}, {"token": "a"}]}, "holds the keyframe a twice"),
    ],
)
def test_other_layouts_are_refused(write, run, capsys, name, content, message):
    assert main([run({"a": 0}), "--format", name, "--infos", write(content)]) == 1
    assert re.search(message, capsys.readouterr().err.strip())


def test_wrong_use_is_refused(mmdet3d, write, run, tmp_path, capsys):
    root, infos = run({"copy1": 0}), write(mmdet3d)
    words = ["--format", "mmdet3d", "--infos", infos]
    before = Path(infos).read_bytes()
    for out, message in ((infos, "exists; remove it or"), (str(tmp_path / "no" / "a.pkl"), "there is no folder")):
        assert main([root, *words, "--out", out]) == 1
        assert message in capsys.readouterr().err
    assert Path(infos).read_bytes() == before
    assert main([root, *words, "--cycle", "1"]) == 1
    assert "has labels of the cycles 0 to 0, none of cycle 1" in capsys.readouterr().err
    assert main([str(tmp_path), *words]) == 1
    assert "is no run with labels" in capsys.readouterr().err
    (tmp_path / "list.txt").write_text("copy1\n")
    (tmp_path / "text.pkl").write_text("tokens: copy1\n")
    assert main([root, "--format", "mmdet3d", "--infos", str(tmp_path / "text.pkl")]) == 1
    assert "text.pkl" in (said := capsys.readouterr().err)
    assert "it begins with b'tokens: copy1\\n': is it a pickle?" in said
    tokens = str(tmp_path / "list.txt")
    for wrong, message in (
        ([root, "--format", "mmdet3d"], "needs --infos"), ([root, "--format", "csv", "--infos", infos], "takes no"),
        ([root, root, *words], "one run directory"), ([root, "--format", "vda"], "invalid choice: 'vda'"),
        ([tokens, *words, "--part", "new"], "--part new needs a run directory"),
        ([tokens, *words, "--cycle", "1"], "--cycle 1 needs a run directory"),
        ([tokens, "--format", "tokens", "--part", "pool"], "--part pool needs a run directory"),
        ([tokens, "--format", "csv"], "--format csv needs a run directory"),
        ([tokens, "nope", "--format", "csv"], "nope is neither a run directory nor a file"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stop:
            main(wrong)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
