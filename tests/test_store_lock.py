"""A store is used by many, or emptied by one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from privaudit.errors import InputError
from privaudit.store import Store
from privaudit.store_lock import alone, in_use
from privaudit.stored import contents

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such locks")

USER = """
import sys
from pathlib import Path
from privaudit.store_lock import in_use
with in_use(Path(sys.argv[1])):
    print("using", flush=True)
    sys.stdin.read()
"""


def test_many_use_it_and_none_empties_it(tmp_path: Path) -> None:
    with in_use(tmp_path), in_use(tmp_path), pytest.raises(InputError, match="is in use by a run"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.mark.parametrize("killed", [False, True])
def test_the_lock_ends_with_its_process(tmp_path: Path, killed: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", USER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "using\n"
        with pytest.raises(InputError, match="Wait until the run has ended"), alone(tmp_path):
            pass
        if killed:
            user.kill()
        else:
            user.communicate("")
        user.wait(timeout=30)
        with alone(tmp_path):
            pass


def test_the_lock_is_part_of_a_store(tmp_path: Path) -> None:
    Store(tmp_path)
    with in_use(tmp_path):
        pass
    assert contents(tmp_path).files == ()
