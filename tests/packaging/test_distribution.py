"""The distribution as its users get it: built, installed into environments of their own, and used out of the tree."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".uv" / "bin" / "uv"
CONSUMER = Path(__file__).with_name("consumer.py")
THIRD_PARTY = Path("tests") / "exporters" / "third_party" / "pool_statsd"

PACKAGES = {
    "instrumented_pool": None,
    "instrumented_pool_datadog": "datadog",
    "instrumented_pool_otel": "otel",
    "instrumented_pool_prometheus": "prometheus",
    "instrumented_pool_structlog": "structlog",
}

# What would tell a tool about this tree stays on this side.
SURROUNDINGS = {
    name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MYPYPATH", "VIRTUAL_ENV"}
}


@dataclass(frozen=True)
class Installed:
    """A virtual environment, with a desk beside it at which its user works."""

    python: Path
    desk: Path

    def install(self, *arguments: str | Path) -> None:
        """Install what `uv pip install` understands."""
        succeed(UV, "pip", "install", "--quiet", "--python", self.python, *arguments)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its Python at its desk."""
        return run(self.python, *arguments, cwd=self.desk)


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command, and give back what it printed."""
    return subprocess.run(command, cwd=cwd, env=SURROUNDINGS, capture_output=True, text=True, check=False)


def succeed(*command: str | Path) -> str:
    """Run a command that has to succeed."""
    done = run(*command)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


def new_environment(place: Path) -> Installed:
    """Make an empty environment of the Python that runs the tests."""
    succeed(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, place / "env")
    (place / "desk").mkdir()
    return Installed(place / "env" / "bin" / "python", place / "desk")


def furnished(place: Path, *project: str | Path) -> Installed:
    """Make an environment that has all that is locked, and the project installed as told."""
    user = new_environment(place)
    for locked in ("run", "gates"):
        user.install("--no-deps", "--require-hashes", "--requirements", ROOT / "requirements" / f"{locked}.txt")
    user.install("--no-deps", "--no-build-isolation", *project)
    return user


@pytest.fixture(scope="module", autouse=True)
def _uv() -> None:
    """Without uv none of this can be made."""
    if not UV.exists():
        pytest.fail("no .uv/bin/uv: `make wheel-test` fetches it and runs these tests")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, as git would hand it to somebody."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in succeed("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist that was built from a checkout."""
    dist = tmp_path_factory.mktemp("dist")
    succeed(UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", dist, checkout)
    return next(dist.glob("*.whl"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, and nothing else."""
    user = new_environment(tmp_path_factory.mktemp("bare"))
    user.install("--no-index", wheel)
    return user


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel, with all that its extras name."""
    return furnished(tmp_path_factory.mktemp("wheel"), wheel)


@pytest.fixture(scope="module", params=["wheel", "editable"])
def user(request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """One who installed the wheel, and one who installed a checkout editable, with all that the extras name."""
    if request.param == "wheel":
        installed: Installed = request.getfixturevalue("from_wheel")
        return installed
    return furnished(tmp_path_factory.mktemp("editable"), "--editable", checkout)


def test_wheel_holds_the_packages_with_their_types_and_nothing_else(wheel: Path) -> None:
    """A wheel that brought `tests` or `exporters` along would collide with other people's."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_sdist_holds_the_tree(wheel: Path, checkout: Path) -> None:
    """Who packages it for a distribution runs its tests, which read the examples, the tools and the locks."""
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    tree = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}
    assert {name for name in tree - names if not name.startswith(".ci/")} == set()


def test_wheel_asks_for_nothing_but_by_extras(wheel: Path) -> None:
    """The core has no dependencies."""
    with ZipFile(wheel) as archive:
        metadata = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    needs = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert needs
    assert all("extra ==" in line for line in needs)


def test_core_imports_without_extras(bare: Installed) -> None:
    """Neither the core nor what it imports needs a driver or a vendor."""
    done = bare.run("-W", "error", "-c", "from instrumented_pool import *; ConnectionPool")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("package", "extra"), [(name, extra) for name, extra in PACKAGES.items() if extra])
def test_exporter_without_its_extra_says_what_to_install(bare: Installed, package: str, extra: str) -> None:
    """The last line that a user reads is the command that helps."""
    done = bare.run("-c", f"import {package}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert f"pip install 'instrumented-pool[{extra}]'" in last


def test_demo_without_its_extra_says_what_to_install(bare: Installed) -> None:
    """One line, no traceback, and the exit code of wrong use; whichever way it is called."""
    script = bare.python.with_name("instrumented-pool")
    for done in (bare.run("-m", "instrumented_pool", "demo"), run(script, "demo", cwd=bare.desk)):
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "pip install 'instrumented-pool[demo]'" in done.stderr


def test_dashboards_need_no_extra(bare: Installed) -> None:
    """Of whoever installed the wheel and nothing else."""
    assert_lays_out_the_dashboards(bare)


def test_dashboards_are_found_wherever_they_were_installed(user: Installed) -> None:
    """In the wheel as in the tree of an editable install."""
    assert_lays_out_the_dashboards(user)


def assert_lays_out_the_dashboards(user: Installed) -> None:
    done = user.run("-m", "instrumented_pool", "dashboards", "--out", "laid-out", "--force")
    assert done.returncode == 0, done.stderr
    for folder in ("dashboards", "rules"):
        paths = (ROOT / "grafana" / folder).glob("*")
        assert {path.name: path.read_text() for path in (user.desk / "laid-out" / folder).glob("*")} == {
            path.name: path.read_text() for path in paths
        }


def test_compose_files_image_copies_all_that_a_build_reads(checkout: Path, tmp_path: Path) -> None:
    """What its recipe copies is enough to build a wheel from."""
    compose = yaml.safe_load((checkout / "grafana" / "compose.yaml").read_text())
    recipe = compose["services"]["demo"]["build"]["dockerfile_inline"]
    for line in re.findall(r"^COPY (.*)$", recipe, re.MULTILINE):
        for name in line.split()[:-1]:
            source, copy = checkout / name, tmp_path / "src" / name
            copy.parent.mkdir(exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    options = ["--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable]
    succeed(UV, "build", *options, "--out-dir", tmp_path, tmp_path / "src")
    assert list(tmp_path.glob("*.whl"))


def test_demo_needs_no_extra_but_its_own(wheel: Path, tmp_path: Path) -> None:
    """What `pip install 'instrumented-pool[demo]'` brings is enough for the whole story."""
    user = new_environment(tmp_path)
    user.install("--constraints", ROOT / "requirements" / "run.txt", f"instrumented-pool[demo] @ {wheel.as_uri()}")
    done = user.run("-m", "instrumented_pool", "demo", "--fast")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_package_imports_from_where_it_was_installed(user: Installed) -> None:
    """All five are found at the top level."""
    done = user.run("-c", f"import {', '.join(PACKAGES)}; print(instrumented_pool.__file__)")
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout).is_relative_to(ROOT)


def test_mypy_sees_what_a_connection_is(user: Installed) -> None:
    """The type of the connection flows from the strategy to the body of `async with`, with `mypy --strict`."""
    done = user.run("-m", "mypy", "--strict", shutil.copy(CONSUMER, user.desk))
    assert done.returncode == 0, done.stdout


def test_pyright_sees_what_a_connection_is(user: Installed) -> None:
    """The same with pyright, at its strictest where the vendors' own types allow it."""
    (user.desk / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = user.run("-m", "pyright", "--pythonpath", user.python, shutil.copy(CONSUMER, user.desk))
    assert done.returncode == 0, done.stdout


def test_type_checkers_refuse_what_a_connection_has_not(from_wheel: Installed) -> None:
    """Were the connection `Any`, the checks above would say nothing."""
    wrong = from_wheel.desk / "wrong.py"
    wrong.write_text(
        f"{CONSUMER.read_text()}\n\nasync def misuse(pool: ConnectionPool[Line]) -> None:\n"
        "    async with pool.get_connection() as line:\n        line.hang_up()\n"
    )
    by_mypy = from_wheel.run("-m", "mypy", "--strict", wrong)
    by_pyright = from_wheel.run("-m", "pyright", "--pythonpath", from_wheel.python, wrong)
    assert 'has no attribute "hang_up"' in by_mypy.stdout
    assert '"hang_up" for class "Line"' in by_pyright.stdout


def test_observer_of_somebody_elses_installs_beside_the_wheel(checkout: Path, from_wheel: Installed) -> None:
    """A package of its own, which finds the types and the names that it needs."""
    from_wheel.install("--no-deps", "--no-build-isolation", checkout / THIRD_PARTY)
    checked = from_wheel.run("-m", "mypy", "--strict", "--package", "pool_statsd")
    made = from_wheel.run("-c", "from pool_statsd import StatsdObserver; StatsdObserver().close()")
    assert checked.returncode == 0, checked.stdout
    assert made.returncode == 0, made.stderr


def test_suite_passes_against_the_wheel(checkout: Path, from_wheel: Installed, tmp_path: Path) -> None:
    """All but those that wait for minutes of real time: they need no file of the sources but what is installed."""
    tree = tmp_path / "tree"
    shutil.copytree(checkout, tree)
    for sources in ("instrumented_pool", "exporters"):
        shutil.rmtree(tree / sources)
    (tree / ".venv-agent").symlink_to(ROOT / ".venv-agent")
    slow = ("--ignore=tests/chaos", "--ignore=tests/grafana")
    done = run(from_wheel.python, "-P", "-m", "pytest", "-q", "-x", *slow, cwd=tree)
    assert done.returncode == 0, done.stdout + done.stderr
