"""What a compiled core would bring, in ratios: `benchmarks/compiled/measure.py [PYTHON ...]`.

docs/decisions/compiled-core.md says what came of it. Copies of the core are compiled by mypyc and by Cython, in a
temporary directory and with an environment of its own, and take turns with the core as it is. The tree is only read.
Needs a C compiler, Python's headers, and pip that can fetch. Takes about three minutes a Python.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("cython==3.3.1", "mypy==2.4.1", "setuptools")
PEERS = ("asyncio-connection-pool", "generic-connection-pool", "redis", "sqlalchemy[asyncio]")  # of benchmarks
TASKS = 1_000
MODULES = ("_bus", "_check", "_deadlock", "_holders", "_pool", "_stats")  # of _events mypyc makes what crashes
CORES = ("pure", "mypyc", "cython")
CONTESTS = {"idle": ("floor", "ceiling", *CORES), "contended": ("semaphore", *CORES)}

# What mypyc cannot take, and what can stand there instead, by file.
FOR_MYPYC = (
    ("_pool.py", '"_thread"', '"_thread_id"'),
    ("_pool.py", "._thread ", "._thread_id "),
    ("_pool.py", "._thread:", "._thread_id:"),
    ("_pool.py", "_DEFAULT: Final = cast(float, object())", "_DEFAULT: Any = object()"),
    ("_pool.py", "timeout: float | None = _DEFAULT", "timeout: Any = _DEFAULT"),
    ("_pool.py", "import Conn, ConnectionStrategy", "import Conn, ConnectionStrategy, Referable"),
    ("_pool.py", "class ConnectionPool(Generic", "class ConnectionPool(Referable, Generic"),
    ("_strategy.py", "class ConnectionStrategy(", "class Referable:\n    pass\n\n\nclass ConnectionStrategy("),
)


def build(work: Path, python: str) -> None:
    """Lay the environment and one copy of the core per contestant into `work`."""
    subprocess.run((python, "-m", "venv", "env"), cwd=work, check=True)
    pip = ("env/bin/pip", "install", "-qq", "--disable-pip-version-check")
    subprocess.run((*pip, *TOOLS, *PEERS), cwd=work, check=True)
    for core in CORES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "instrumented_pool", work / core / "instrumented_pool", ignore=ignored)
    for file, before, after in FOR_MYPYC:
        path = work / "mypyc/instrumented_pool" / file
        source = path.read_text()
        if before not in source:
            raise SystemExit(f"{file} has no {before!r} any more: see what mypyc needs now")
        path.write_text(source.replace(before, after))
    files = [f"instrumented_pool/{module}.py" for module in MODULES]
    cythonize = ("cythonize", "-i", "-3", "-X", "annotation_typing=False")
    for core, (tool, *options) in {"mypyc": ("mypyc",), "cython": cythonize}.items():
        made = subprocess.run(
            (f"../env/bin/{tool}", *options, *files), cwd=work / core, check=False, capture_output=True, text=True
        )
        if made.returncode:
            raise SystemExit(f"{tool} failed:\n{made.stdout[-2000:]}\n{made.stderr[-2000:]}")
    include = "import sysconfig; print(sysconfig.get_path('include'))"
    headers = subprocess.run((work / "env/bin/python", "-c", include), check=True, capture_output=True, text=True)
    ceiling = ("-o", "pure/ceiling.so", Path(__file__).with_name("ceiling.c"))
    subprocess.run(("cc", "-O3", "-shared", "-fPIC", f"-I{headers.stdout.strip()}", *ceiling), cwd=work, check=True)


async def work_off(name: str) -> None:
    """Be the contestant `name`: for each line of the input, a contest and how often, answer with seconds."""
    contestants, scenarios = import_module("benchmarks.contestants"), import_module("benchmarks.scenarios")
    if name in CORES:
        compiled = not str(import_module("instrumented_pool._pool").__file__).endswith(".py")
        assert compiled == (name != "pure"), "the core is not what it is called"
    for line in sys.stdin:
        contest, times = line.split()
        if name == "ceiling":
            seconds = await scenarios.alone(import_module("ceiling").Pool().get_connection, int(times))
        else:
            kinds = {"floor": contestants.Floor, "semaphore": contestants.SemaphorePool}
            pool = await scenarios._filled(kinds.get(name, contestants.Ours), scenarios.SIZE)
            if contest == "idle":
                seconds = await scenarios.alone(pool.lease, int(times))
            else:
                seconds = await scenarios._crowd(pool, TASKS, int(times), 0)
            await pool.close()
        print(seconds, flush=True)


def start(work: Path, name: str) -> subprocess.Popen[str]:
    core = name if name in CORES else "pure"
    paths = os.pathsep.join(map(str, (work / core, ROOT)))
    return subprocess.Popen(
        (work / "env/bin/python", __file__, "--be", name),
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(contestant: subprocess.Popen[str], contest: str) -> float:
    assert contestant.stdin is not None
    assert contestant.stdout is not None
    contestant.stdin.write(f"{contest} {5_000 if contest == 'idle' else 1}\n")
    contestant.stdin.flush()
    return float(contestant.stdout.readline())


def measure(work: Path, rounds: int) -> None:
    for contest, names in CONTESTS.items():
        contestants = {name: start(work, name) for name in names}
        took = [{name: ask(each, contest) for name, each in contestants.items()} for _ in range(rounds)]
        for each in contestants.values():
            each.communicate()
        best = {name: min(turn[name] for turn in took) for name in names}
        print(f"  {contest}: " + ", ".join(f"{name} {best[name] / best['pure']:.2f}" for name in names), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON", help="default: this one")
    parser.add_argument("--rounds", type=int, default=250, help="rounds in turn; the best counts (default %(default)s)")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be:
        asyncio.run(work_off(options.be))
        return 0
    for python in options.pythons:
        with TemporaryDirectory() as work:
            print(f"{python}: seconds of one acquire and release, as a part of those of the core as it is", flush=True)
            build(Path(work), python)
            measure(Path(work), options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
