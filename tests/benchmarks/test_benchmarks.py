import math

import pytest

from benchmarks.__main__ import main
from benchmarks.harness import Result, benchmarks, duration, interleaved, peak_bytes, table


@pytest.mark.parametrize("name", benchmarks())
def test_small_sizes_run(name):
    module = benchmarks()[name]
    assert len(module.__doc__.strip().splitlines()) == 1
    results = module.run(full=False)
    assert results
    for result in results:
        assert 0 < result.ours < math.inf
        assert 0 < result.peer < math.inf


def test_both_are_called_in_turn_after_a_warm_up():
    calls = []
    times = interleaved(lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=3)
    assert calls == ["ours", "peer"] * 4
    assert min(times) > 0


def test_peak_memory_is_that_of_the_call():
    size = 2**26
    assert size <= peak_bytes(lambda: bytes(bytearray(b"1") * size)[0]) < 4 * size
    assert peak_bytes(lambda: None) < size / 8


def test_the_command_lists_and_refuses(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmarks"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(benchmarks())
    assert all(len(line.split()) > 3 for line in lines)
    monkeypatch.setattr("sys.argv", ["benchmarks", "training", "trainning"])
    with pytest.raises(SystemExit):
        main()
    assert "no benchmark trainning; there are: " in capsys.readouterr().err


def test_what_is_printed():
    result = Result("a copy", ours=0.002, peer=5e-6, peer_name="nothing", note="slow")
    assert str(result) == "a copy: 2 ms; nothing: 5 us; 0.00 times; slow"
    assert table([result]).splitlines()[-1] == "| a copy | 2 ms | nothing | 5 us | 0.00 | slow |"
    assert duration(12.5) == "12.5 s"
