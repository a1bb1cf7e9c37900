"""Missing files among those that are there, in folders of files and of links."""

from al_lightning.data.file_lists import missing_files


def test_missing_files_are_found_in_order(tmp_path):
    for name in ("a/1", "a/2", "b/c/3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = ["b/c/4", "a/1", "a/3", "b/c/3", "nowhere/1", "a/1/below a file", "a/2"]
    assert missing_files(tmp_path, names) == ["b/c/4", "a/3", "nowhere/1", "a/1/below a file"]


def test_a_link_counts_as_what_it_leads_to(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "1").touch()
    (tmp_path / "a").mkdir()
    for name in ("1", "2"):
        (tmp_path / "a" / name).symlink_to(tmp_path / "disk" / name)
    (tmp_path / "b").symlink_to(tmp_path / "disk")
    assert missing_files(tmp_path, ["a/1", "a/2", "b/1", "b/2"]) == ["a/2", "b/2"]
