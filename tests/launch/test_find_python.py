"""launch/find_python.sh: where a Python 3.12 is looked for, and what is said where there is none."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IS_IT = '#!/bin/sh\n[ "$1" = -c ] && echo "$0"\n'  # a 3.12 answers with its path
ANOTHER = "#!/bin/sh\nexit 1\n"  # an older one, one without venv, or a shim of pyenv's for a version that is not chosen


def find(home: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["/bin/sh", "launch/find_python.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": str(home / "bin"), "HOME": str(home), **environment},
    )


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "where",
    ["bin/python3.12", "bin/python3", "bin/python", ".local/bin/python3.12", ".pyenv/versions/3.12.11/bin/python"],
)
def test_it_is_found_behind_others(tmp_path, where):
    for other in ("bin/python3.12", "bin/python3", "bin/python", ".pyenv/versions/3.12.1/bin/python"):
        program(tmp_path / other, ANOTHER)
    python = program(tmp_path / where, IS_IT)
    done = find(tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{python}\n", "")


@pytest.mark.parametrize("where", ["bin/uv", ".local/bin/uv"])
def test_uvs_own_is_found_and_none_is_fetched(tmp_path, where):
    python = program(tmp_path / "share/uv/python3.12", IS_IT)
    program(tmp_path / where, f'#!/bin/sh\n[ "$UV_PYTHON_DOWNLOADS" = never ] && echo "{python}"\n')
    done = find(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{python}\n")


def test_pyenv_may_lie_elsewhere(tmp_path):
    python = program(tmp_path / "pyenv/versions/3.12.3/bin/python", IS_IT)
    assert find(tmp_path, PYENV_ROOT=str(tmp_path / "pyenv")).stdout == f"{python}\n"


def test_without_one_a_sentence_says_what_to_install(tmp_path):
    program(tmp_path / "bin/python3", ANOTHER)
    done = find(tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("error: no Python 3.12 with venv was found")
    assert "apt install python3.12-venv" in sentence


def test_the_installation_refuses_another_python(tmp_path):
    other = program(tmp_path / "bin/python3", ANOTHER)
    done = subprocess.run(
        ["bash", "launch/docker/install.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(other)},
    )
    assert done.returncode == 1
    assert done.stderr == f"error: {other} is no Python 3.12: set PYTHON to one (launch/find_python.sh looks for it)\n"
