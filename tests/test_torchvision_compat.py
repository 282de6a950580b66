"""torchvision imports, whatever torch it was built for."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from privaudit.torchvision_compat import import_torchvision
module = import_torchvision()
assert module is import_torchvision() is sys.modules["torchvision"]
import torchvision.transforms.v2, torchvision.models
assert torchvision.datasets.MNIST and torchvision.models.resnet18
print(module.__version__)
"""


def _run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_imports_in_a_fresh_process() -> None:
    done = _run(_PROGRAM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert "Warning" not in done.stderr


def test_the_guard_is_needed_or_does_nothing() -> None:
    """Where the plain import works, the guard declares nothing; where it fails, it fails with the guarded error."""
    plain = _run("import torchvision")
    guarded = _run(
        "from privaudit import torchvision_compat as compat; compat.import_torchvision(); print(len(compat._declared))"
    )
    if plain.returncode == 0:
        assert guarded.stdout.strip() == "0"
    else:
        assert "operator torchvision::nms does not exist" in plain.stderr
        assert guarded.stdout.strip() == "1"


def test_other_errors_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit import torchvision_compat

    def broken(name: str) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(RuntimeError, match="out of luck"):
        torchvision_compat.import_torchvision()
