"""A test that skips is a test that fails, in CI and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = "from tests.services.no_skips import pytest_make_collect_report, pytest_runtest_makereport\n"
WHOLE_FILE = "import pytest\npytest.skip('nothing here', allow_module_level=True)\n"
ONE_TEST = "import pytest\ndef test_it() -> None:\n    pytest.skip('no service')\n"
EXPECTED = "import pytest\n@pytest.mark.xfail\ndef test_it() -> None:\n    assert False\n"


def outcome(folder: Path, text: str, ci: bool) -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": "true" if ci else ""}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(folder),
            str(folder),
        ],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("text", [WHOLE_FILE, ONE_TEST], ids=["a file", "a test"])
def test_what_skips_at_home_fails_in_ci(text: str, tmp_path: Path) -> None:
    code, said = outcome(tmp_path, text, ci=False)
    assert code in (0, 5)  # 5: nothing was collected
    assert "skipped" in said
    code, said = outcome(tmp_path, text, ci=True)
    assert code not in (0, 5)
    assert "no test skips in CI" in said


def test_an_expected_failure_is_no_skip(tmp_path: Path) -> None:
    assert outcome(tmp_path, EXPECTED, ci=True)[0] == 0
