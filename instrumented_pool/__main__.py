"""The command `instrumented-pool`."""

import argparse
import codecs
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ._dashboards import CannotWrite, lay_out

_INSTALL = "pip install 'instrumented-pool[demo]'"
_ASCII = {"✓": "ok", "✗": "NOT", "–": "-", "→": "->", "×": "x", "·": "-", "…": "...", "─": "-", "█": "#"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0: it went well. 1: a claim of the demo's did not hold. 2: it cannot be run as asked; one line on stderr says why.
    130: interrupted.
    """
    options = _parser().parse_args(argv)
    try:
        return _dashboards(options) if options.command == "dashboards" else _demo(options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dashboards(options: argparse.Namespace) -> int:
    try:
        written = lay_out(options.out, force=options.force)
    except CannotWrite as error:
        return _refuse(str(error))
    print("\n".join(map(str, written)))
    return 0


def _demo(options: argparse.Namespace) -> int:
    if sys.platform == "win32":
        return _refuse("the demo needs signals and process groups as Linux and macOS have them")
    try:
        from ._demo._errors import CannotRun
        from ._demo._run import run
        from ._servers import CannotStart
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        return _refuse(f"the demo needs {missing}, which is not installed: {_INSTALL}")
    _make_printable()
    try:
        return run(options)
    except (CannotRun, CannotStart) as error:
        return _refuse(str(error))


def _refuse(why: str) -> int:
    print(f"instrumented-pool: {why}", file=sys.stderr)
    return 2


def _make_printable() -> None:
    """Where the output cannot take our signs, write something plainer instead of failing."""
    codecs.register_error("instrumented_pool_plainer", _plainer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="instrumented_pool_plainer")


def _plainer(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_ASCII.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="instrumented-pool", description="A connection pool that can say why your request waited.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    demo = commands.add_parser(
        "demo",
        help="watch a pool of connections to a real server live through a bad day",
        description=(
            "Starts a Valkey of its own, and plays 25 seconds of a pool's life on it: calm, a surge, a stalling "
            "server, a handler that forgets its connection, a killed server. Every act says what it claims, and "
            "checks it."
        ),
    )
    demo.add_argument("--redis", metavar="URL", help="use this server, which is left alone, instead of one of our own")
    demo.add_argument("--otlp", metavar="URL", help="send traces and metrics to this OTLP/HTTP collector")
    demo.add_argument("--prometheus", metavar="PORT", type=_port, help="serve metrics on this port while it runs")
    demo.add_argument("--view", action="store_true", help="show the traces in the Aspire dashboard, if installed")
    demo.add_argument("--datadog", action="store_true", help="send traces and metrics to the local Datadog agent")
    demo.add_argument("--fast", action="store_true", help="tell the story in about five seconds")
    dashboards = commands.add_parser(
        "dashboards",
        help="write the Grafana dashboards and the Prometheus rules into a directory",
        description=(
            "Writes DIR/dashboards, for Grafana to provision or import, and DIR/rules, for Prometheus' rule_files; "
            "says which files it wrote."
        ),
    )
    dashboards.add_argument("--out", metavar="DIR", type=Path, required=True, help="where to; made if it is not there")
    dashboards.add_argument("--force", action="store_true", help="write over files that were changed")
    return parser


def _port(text: str) -> int:
    port = int(text) if text.isdecimal() else 0
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: it must be between 1 and 65535")
    return port


if __name__ == "__main__":
    sys.exit(main())
