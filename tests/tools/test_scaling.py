"""The measurement of several processes: real ones, tiny, and what is written about them."""

import json
from pathlib import Path

import pytest

from cvae_lib.model import CVAE
from cvae_lib.tools import scaling
from cvae_lib.tools.scaling import ScalingError, measure_scaling, read_answers, start_cluster


@pytest.mark.slow
@pytest.mark.weekly
def test_each_number_of_processes_is_measured_in_each_round(tmp_path, monkeypatch):
    """And what crosses the loopback interface is what a ring sends, where only these processes use it."""
    monkeypatch.setattr(scaling, "SECONDS", 0.01)
    told = []
    path = measure_scaling(tmp_path / "new", rounds=2, units=(64,), processes=(1, 2), report=told.append)
    assert path == tmp_path / "new" / "scaling.json" and told == ["ready", "round 1 of 2", "round 2 of 2"]
    table = json.loads(path.read_text(encoding="utf-8"))
    assert table["command"] == "python -m cvae_lib scaling --rounds 2"
    cases = [(row["processes"], row["units"], row["batch"]) for row in table["rows"]]
    assert cases == [(0, 64, 250), (1, 64, 250), (2, 64, 250), (2, 64, 500)]
    parameters = CVAE(n_hidden=64).count_params()
    for row in table["rows"]:
        assert row["parameters"] == parameters
        assert len(row["ms"]) == len(row["bytes"]) == 2 and min(row["ms"]) > 0
        if row["processes"] == 2 and row["bytes"][0] is not None:
            assert min(row["bytes"]) >= 2 * 4 * parameters


def test_what_chapter_16_shows_was_measured():
    """By the command with its defaults, with every number of processes and every width."""
    path = Path(__file__).parents[2] / "chapters" / "results" / "scaling.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    assert table["command"] == f"python -m cvae_lib scaling --rounds {scaling.ROUNDS}"
    cases = {(row["processes"], row["units"]) for row in table["rows"] if len(row["ms"]) == scaling.ROUNDS}
    assert cases == {(count, units) for count in (0, *scaling.PROCESSES) for units in scaling.UNITS}


def test_a_lost_process_is_named():
    with start_cluster(0) as cluster:
        assert read_answers(cluster) is True
        cluster[0].kill()
        with pytest.raises(ScalingError, match="process 0 of 1: found that it has ended"):
            read_answers(cluster)
    assert cluster[0].poll() is not None


def test_bytes_are_those_of_the_loopback_interface(tmp_path, monkeypatch):
    text = "Inter-| Receive\n face |bytes packets\n  eth0: 7 1 0\n    lo: 1234 5 0\n"
    (tmp_path / "dev").write_text(text, encoding="utf-8")
    monkeypatch.setattr(scaling, "TRAFFIC", tmp_path / "dev")
    assert scaling.count_bytes() == 1234
    monkeypatch.setattr(scaling, "TRAFFIC", tmp_path / "none")
    assert scaling.count_bytes() is None
