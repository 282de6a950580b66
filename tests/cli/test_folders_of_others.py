"""A run's folder is never written over by another command."""

from __future__ import annotations

from pathlib import Path

from processes import AUDIT, assert_one_sentence, run, write_small_audit

GRID = """
data: {source: members.npz, split: {members: 20, controls: 20, fresh: 5, reference: 5}}
synthesizer: bn-matching
settings: {base: {}}
policy: small.yaml
"""


def test_a_benchmark_and_an_audit_keep_out_of_each_others_folders(tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    (tmp_path / "grid.yaml").write_text(GRID)
    (tmp_path / "audited/private").mkdir(parents=True)
    (tmp_path / "audited/private/plan.json").write_text("{}")
    done = run(tmp_path, "benchmark", "grid.yaml", "--out", "audited")
    assert done.returncode == 2
    assert "'audited' holds an audit" in assert_one_sentence(done)
    (tmp_path / "compared/share").mkdir(parents=True)
    (tmp_path / "compared/private").mkdir()
    (tmp_path / "compared/share/benchmark.json").write_text("{}")
    done = run(tmp_path, *AUDIT, "--out", "compared")
    assert done.returncode == 2
    assert "'compared' holds a benchmark" in assert_one_sentence(done)
