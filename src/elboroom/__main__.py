"""Command line: ``elboroom demo | fit | check | report | compare | drift | monitor | export | cache``, and of a registry ``register | versions | promote | rollback | serve | token``."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from . import __version__
from .operations.thresholds import ALERT_COMPUTE, SLO_AVAILABILITY, SLO_SECONDS
from .ppl.errors import ElboroomError, RegistryError, explain, in_short
from .ppl.names import printable
from .words import summary_lines, verdict_lines

STATUS = (
    "Exit status: 0 the work was done, whatever the verdict, unless --fail-on names something that holds: "
    "then 4 untrusted, else 5 misfit (the model does not fit the data), else 3 caution; 6 drift. "
    "1 the model raised an error, or the report failed and the posterior was kept. 2 usage or data error. "
    "130 interrupted, 143 told to end; what was reached is kept."
)


app = typer.Typer(
    help="Declare a model; get a posterior with the evidence that it can be trusted.",
    epilog=STATUS,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class FailOn(StrEnum):
    """What makes the exit status differ from 0."""

    caution = "caution"
    untrusted = "untrusted"
    misfit = "misfit"


class FailOnDrift(StrEnum):
    """What makes the exit status of `drift` differ from 0."""

    drift = "drift"


class Refine(StrEnum):
    """When to run warm-started MCMC."""

    auto = "auto"
    always = "always"
    never = "never"


FailOnOption = Annotated[
    list[FailOn] | None,
    typer.Option(
        "--fail-on",
        help="Exit with 4, 5 or 3 if this holds; may be repeated. caution holds for untrusted too.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write.")]


NO_REPORT, USAGE, SIGNALLED = 1, 2, 128
"""Exit statuses, see `STATUS`: a report that failed, a usage or data error, and what a signal's number is added to."""


class _Signals:
    """Interrupts and requests to end, which a fit answers by returning the best that it has."""

    def __init__(self):
        self.seen: list[int] = []
        self.keeping = False  # what there is is being written: one more signal changes nothing

    def note(self, number, _frame):
        self.seen.append(number)
        if not self.keeping:
            raise KeyboardInterrupt


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Turn errors into one paragraph and signals into interrupts; every error of the model's own keeps its traceback."""
    signals = _Signals()
    before = {number: signal.signal(number, signals.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _plainly():
            yield signals
    except KeyboardInterrupt:
        typer.echo("Interrupted before there was anything to keep.", err=True)
        raise typer.Exit(SIGNALLED + (signals.seen or [signal.SIGINT])[0]) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _plainly() -> Iterator[None]:
    """Turn a usage or data error into one paragraph; let every other error keep its traceback."""
    try:
        yield
    except ElboroomError as error:
        typer.echo(f"Error: {printable(str(error))}", err=True)
        raise typer.Exit(USAGE) from None


def _kept(posterior, out: Path, folder: Path, signals: _Signals) -> dict:
    """Write what was fitted into the stage of `out`, and print what was found if the report fails; the report's JSON."""
    from .folder import write

    signals.keeping = True
    found = write(posterior, folder)
    if isinstance(found, dict):
        return found
    typer.echo("\n".join([f"Verdict         {posterior.verdict}", *summary_lines(posterior)]))
    typer.echo(f"Error: the report failed ({printable(in_short(found))}).", err=True)
    typer.echo(f"The fit is kept in {out / 'posterior'}: elboroom.load reads it.", err=True)
    return {}


def _finish(record: dict, out: Path, fail_on: Iterable[FailOn] | None, seen: list[int]) -> None:
    """Print what was found and end with the status that it asks for."""
    from .folder import exit_status

    if not record:
        raise typer.Exit(NO_REPORT)
    typer.echo("\n".join(verdict_lines(record)))
    typer.echo(f"Report          {out / 'report.html'}")
    if seen:
        typer.echo("Interrupted: the report shows what was reached.", err=True)
        raise typer.Exit(SIGNALLED + seen[0])
    raise typer.Exit(exit_status(record, [item.value for item in fail_on or ()]))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"elboroom {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command(epilog=STATUS)
def demo(out: OutOption = Path("radon-report")) -> None:
    """Fit a hierarchical model of radon in Minnesota homes, and write its report."""
    from .folder import staged

    with _signals() as signals:
        with staged(out) as folder:
            from .demo import fit_radon

            typer.echo(
                "Radon in 919 Minnesota homes, 85 counties: fitting, with nothing tuned (about a minute)."
            )
            posterior = fit_radon()
            record = _kept(posterior, out, folder, signals)
        if record:
            typer.echo("\n".join(["", *summary_lines(posterior), ""]))
    _finish(record, out, (), signals.seen)


@app.command(epilog=STATUS)
def fit(  # noqa: PLR0913, PLR0917  each is an option of the command line
    model: Annotated[str, typer.Argument(metavar="MODULE:MODEL", help="Python module and model in it.")],
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="A .csv, .json, .nc, .npz or .parquet file; its columns, keys or variables reach the model's arguments "
            "of the same name.",
        ),
    ] = None,
    separator: Annotated[str | None, typer.Option(help="Between the columns of a CSV file.")] = None,
    decimal: Annotated[str | None, typer.Option(help="Decimal sign of a CSV file.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of a CSV file, such as latin-1.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An argument of the model; may be repeated."),
    ] = None,
    backend: Annotated[str, typer.Option(help="Backend to compute with.")] = "jax",
    guide: Annotated[str, typer.Option(help="Guide family, or auto.")] = "auto",
    refine: Annotated[Refine, typer.Option(help="When to run warm-started MCMC.")] = Refine.auto,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    fail_on: FailOnOption = None,
) -> None:
    """Fit a model to a file's data; write report.html, report.json and posterior/ into a folder."""
    from .folder import staged

    with _signals() as signals:
        with staged(out) as folder:
            from .arguments import bind, parse_settings, read_table
            from .inference.fit import fit as fit_program
            from .ppl.found import find_model

            given = {"separator": separator, "decimal": decimal, "encoding": encoding}
            layout = {name: value for name, value in given.items() if value is not None}
            table = {} if data is None else read_table(data, **layout)
            program = bind(find_model(model), table, parse_settings(settings or ()))
            posterior = fit_program(
                program,
                guide=guide,
                backend=backend,
                refine=False if refine is Refine.never else refine.value,
                seed=seed,
            )
            record = _kept(posterior, out, folder, signals)
    _finish(record, out, fail_on, signals.seen)


@app.command(epilog=STATUS)
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A fit's folder.")],
    fail_on: FailOnOption = None,
) -> None:
    """Say what a fit's report found; reads report.json alone."""
    from .folder import read_report

    with _plainly():
        record = read_report(folder)
    _finish(record, folder, fail_on, [])


@app.command(epilog=STATUS)
def report(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A fit's folder.")]) -> None:
    """Render the report of a fit's folder again, from posterior/ and without the data."""
    from .folder import rewrite_report

    with _plainly():
        record = rewrite_report(folder)
    _finish(record, folder, (), [])


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR DIR…", help="Fits of the same outcome.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for a report with the models side by side.")
    ] = None,
) -> None:
    """Compare models by how they predict rows that they have not seen."""
    with _plainly():
        from .diagnostics.compare import compare as by_prediction
        from .folder import read_posterior

        names = [str(folder) for folder in folders]
        comparison = by_prediction({name: read_posterior(name) for name in names})
        typer.echo(printable(repr(comparison)))
        if out is not None:
            typer.echo(f"Report: {comparison.report(out)}")


@app.command(epilog=STATUS)
def drift(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A fit's folder.")],
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="New rows: a file as fit takes.")],
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows to compare them with; by default those that were fitted."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:MODEL", help="The model that was fitted: with it outcomes are looked at too."
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="The rules of the sources, without corrections.")
    ] = False,
    fail_on: Annotated[
        list[FailOnDrift] | None, typer.Option("--fail-on", help="Exit with 6 if anything has moved.")
    ] = None,
) -> None:
    """Compare new rows with those that were fitted; write drift.html into the fit's folder."""
    with _signals():
        from .arguments import read_table
        from .folder import DRIFT, read_posterior
        from .operations.drift.folder import of_folder
        from .ppl.found import find_model

        posterior = read_posterior(folder)
        rows, before = read_table(data), None if reference is None else read_table(reference)
        found, page = of_folder(
            folder, posterior, rows, before, None if model is None else find_model(model), strict
        )
    typer.echo(printable(repr(found)))
    typer.echo(f"Page            {page}")
    raise typer.Exit(DRIFT if found.drifted and fail_on else 0)


@app.command()
def monitor(
    out: OutOption = Path("monitoring"),
    seconds: Annotated[float, typer.Option(help="Within which 99% of answers are to come.")] = SLO_SECONDS,
    availability: Annotated[
        float, typer.Option(help="Share of answers that are to be no errors of the server.")
    ] = SLO_AVAILABILITY,
    compute: Annotated[float, typer.Option(help="Seconds of computing a day, of one model.")] = ALERT_COMPUTE,
    job: Annotated[str, typer.Option(help="What Prometheus calls the endpoints.")] = "elboroom",
    runbooks: Annotated[
        str | None, typer.Option(help="Address of the runbooks; by default they are written too.")
    ] = None,
) -> None:
    """Write alert rules for Prometheus with their runbooks, and dashboards for Grafana, into a folder."""
    with _plainly():
        from .operations.dashboards import write_dashboards
        from .operations.rules import Objectives, write_rules

        objectives = Objectives(seconds, availability, compute, job)
        typer.echo(f"Rules           {write_rules(out / 'rules.yaml', objectives, runbooks)}")
        for path in write_dashboards(out / "dashboards", objectives):
            typer.echo(f"Dashboard       {path}")


@app.command()
def export(  # noqa: PLR0913, PLR0917  each is an option of the command line
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A fit's folder.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write: .jax, .pt2 or .onnx.")],
    model: Annotated[str, typer.Option("--model", metavar="MODULE:MODEL", help="The model that was fitted.")],
    what: Annotated[str, typer.Option(help="What it computes: predict, encode or score.")] = "predict",
    draws: Annotated[int | None, typer.Option(help="Draws that it holds, or makes of each row.")] = None,
    dtype: Annotated[str, typer.Option(help="Precision in which it computes.")] = "float32",
    quantize: Annotated[
        str | None, typer.Option(help="Keep its numbers in float16 or int8; what that costs is measured.")
    ] = None,
    noise: Annotated[bool, typer.Option(help="Whether outcomes, or codes of rows, are drawn too.")] = True,
    rows: Annotated[
        str | None, typer.Option(help="Plate of the rows, where outcomes lie in several.")
    ] = None,
    new_groups: Annotated[
        list[str] | None,
        typer.Option(metavar="PLATE", help="Whose elements may be new; may be repeated."),
    ] = None,
) -> None:
    """Write a fit as a file that runs without elboroom, with a model card beside it."""
    with _plainly():
        from .operations.drift.folder import of_model
        from .operations.export.export import export as written
        from .ppl.found import find_model

        posterior = of_model(folder, find_model(model))
        made = written(posterior, file, what, draws, dtype, quantize, noise, rows, new_groups)
        typer.echo(printable(repr(made)))
        typer.echo(f"Card            {made.path}.md")


RegistryOption = Annotated[Path, typer.Option("--registry", metavar="DIR", help="The registry's folder.")]
TrustOption = Annotated[
    Path | None,
    typer.Option("--trust", metavar="FILE", help="Trusted keys: what none of them has signed is refused."),
]
BecauseOption = Annotated[str, typer.Option("--because", help="Why; it is kept in the log.")]
AliasOption = Annotated[str, typer.Option("--alias", help="What names the version.")]
MODELS = Path("models")


def _registry(place: Path, key: Path | None = None, password: str | None = None, trust: Path | None = None):
    from .operations.keys import Key
    from .operations.registry import Registry
    from .operations.trust import Trust

    own = None if key is None else Key.load(key, password)
    return Registry(place, key=own, trust=None if trust is None else Trust(trust))


@app.command()
def register(  # noqa: PLR0913, PLR0917  each is an option of the command line
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A fit's folder.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model in the registry.")],
    registry: RegistryOption = MODELS,
    data: Annotated[Path | None, typer.Option(help="The file of the data: its digest is kept.")] = None,
    parent: Annotated[str | None, typer.Option(help="Version or alias that it comes from.")] = None,
    because: BecauseOption = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A private key in PEM, to sign with.")
    ] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="ELBOROOM_KEY_PASSWORD", help="Of the key; better given in the environment."),
    ] = None,
) -> None:
    """Keep a fit as the next version of a model in a registry."""
    with _plainly():
        tags = dict(_pair(text) for text in tag or ())
        place = _registry(registry, key, password)
        version = place.add(folder, name, data=data, parent=parent, because=because, tags=tags)
        typer.echo(f"{version}  {version.verdict}  {version.folder}")


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise RegistryError(
            explain(f"--tag {text!r}", "KEY=VALUE", "no '='", "write it like --tag stage=shadow")
        )
    return name, value


@app.command(epilog=STATUS)
def versions(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")],
    registry: RegistryOption = MODELS,
    trust: TrustOption = None,
    fail_on: FailOnOption = None,
) -> None:
    """List the versions of a model, and say whether anything was changed since."""
    from .folder import exit_status

    with _plainly():
        place = _registry(registry, trust=trust)
        typer.echo(printable(repr(place.versions(name))))
        found = place.audit(name)
        typer.echo(printable("\n".join(map(str, found))))
    worst = next((v for v in ("untrusted", "caution") if v in {finding.verdict for finding in found}), "ok")
    record = {"verdict": worst, "fits_data": None}
    raise typer.Exit(exit_status(record, [item.value for item in fail_on or ()]))


@app.command()
def promote(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number, an alias or latest.")],
    registry: RegistryOption = MODELS,
    alias: AliasOption = "live",
    because: BecauseOption = "",
    trust: TrustOption = None,
) -> None:
    """Let an alias name a version; one that is untrusted or does not fit the data needs a reason."""
    with _plainly():
        found = _registry(registry, trust=trust).promote(name, version, alias=alias, because=because)
        typer.echo(f"{name}@{alias} is version {found.number}, {found.verdict}")


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")],
    registry: RegistryOption = MODELS,
    alias: AliasOption = "live",
    because: BecauseOption = "",
    trust: TrustOption = None,
) -> None:
    """Let an alias name again what it named before."""
    with _plainly():
        found = _registry(registry, trust=trust).rollback(name, alias=alias, because=because)
        typer.echo(f"{name}@{alias} is version {found.number}, {found.verdict}")


@app.command()
def serve(  # noqa: PLR0913, PLR0917  each is an option of the command line
    name: Annotated[str, typer.Argument(metavar="NAME@ALIAS", help="What is served: risk@live, or risk/7.")],
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODULE:MODEL", help="The model: a registry holds no code."),
    ] = None,
    registry: RegistryOption = MODELS,
    trust: TrustOption = None,
    tokens: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may ask for what: without, this machine alone may."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 for any.")] = 8000,
    health_port: Annotated[
        int | None, typer.Option(help="Port where a thread of its own tells of health; -1 for any.")
    ] = None,
    cert: Annotated[str | None, typer.Option(metavar="FILE", help="Certificate in PEM, for TLS.")] = None,
    key: Annotated[str | None, typer.Option(metavar="FILE", help="Its private key in PEM.")] = None,
    audit: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A line for each request, without its data.")
    ] = None,
    canary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A candidate beside it, as elboroom canary has begun it."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; one that dies is started again.")] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another setting; may be repeated."),
    ] = None,
) -> None:
    """Answer over HTTP for the version that an alias names, until told to end."""
    with _plainly():
        import logging

        from .arguments import parse_settings
        from .operations.serving.server import serve as run
        from .operations.trust import Trust

        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        listening = {"host": host, "port": port, "health_port": health_port, "cert": cert, "key": key}
        trusted = None if trust is None else Trust(trust)
        given = {**listening, "workers": workers, **parse_settings(settings or ())}
        run(registry, name, model=model, tokens=tokens, trust=trusted, audit=audit, canary=canary, **given)


@app.command()
def canary(  # noqa: PLR0913, PLR0917  each is an option of the command line
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the model.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", help="The candidate's number.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where it is kept.")] = Path(
        "canary.json"
    ),
    registry: RegistryOption = MODELS,
    trust: TrustOption = None,
    share: Annotated[float, typer.Option(help="Of the requests, that the candidate answers.")] = 0.05,
    hours: Annotated[float, typer.Option(help="Planned; what is not decided by then goes on.")] = 24.0,
    margin: Annotated[float, typer.Option(help="By what share of the loss it may be worse.")] = 0.02,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="It answers all requests and is heard by none.")
    ] = False,
) -> None:
    """Begin to try a version beside the one that is live: serve with --canary FILE."""
    with _plainly():
        from .operations.canary.canary import Canary

        place = _registry(registry, trust=trust)
        made = Canary(place, name, version, share, hours, margin, shadow)
        made.save(out)
        typer.echo(printable(f"{made}\nserve {name}@live --canary {out}"))


@app.command()
def token(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file of tokens; the first makes it.")],
    name: Annotated[str, typer.Option(help="Whose it is.")] = "",
    scope: Annotated[list[str] | None, typer.Option(help="What it is for; may be repeated.")] = None,
    days: Annotated[float, typer.Option(help="How long it holds.")] = 90.0,
    rotate: Annotated[str | None, typer.Option(metavar="ID", help="Replace this one.")] = None,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="Refuse this one from now on.")] = None,
    because: BecauseOption = "",
) -> None:
    """Make a token for a service, replace or revoke one; without a name, list them."""
    with _plainly():
        from .operations.serving.tokens import SCOPES, Tokens

        tokens = Tokens(path)
        if revoke is not None:
            tokens.revoke(revoke, because)
        elif rotate is not None:
            typer.echo(tokens.rotate(rotate, days=days))
        elif name:
            typer.echo(tokens.new(name, scope or SCOPES, days))
        else:
            for one in tokens.all():
                state = f"revoked: {one.because}" if one.revoked else f"until {one.expires[:16]}"
                typer.echo(printable(f"{one.id}  {one.name}  {', '.join(one.scopes)}  {state}"))


@app.command()
def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it.")] = False,
) -> None:
    """Show, or clear, the compiled programs that are kept so that the next run starts fast."""
    from .ppl import cache as kept

    with _plainly():
        place, limit = kept.folder(), kept.largest()
        if place is None:
            typer.echo("No cache: ELBOROOM_CACHE is off.")
            return
        found = kept.entries()
        typer.echo(f"Folder          {place}")
        typer.echo(f"Entries         {len(found)}, {_mib(sum(e.size for e in found))} of {_mib(limit)}")
        for kind in sorted({entry.kind for entry in found}):
            some = [entry.size for entry in found if entry.kind == kind]
            typer.echo(f"  {kind:<14}{len(some)}, {_mib(sum(some))}")
        if found:
            typer.echo(f"Longest unused  since {datetime.fromtimestamp(found[0].used):%Y-%m-%d %H:%M}")
        if clear:
            typer.echo(f"Removed         {_mib(kept.prune(-1))}")


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def main() -> None:
    """Run the command line."""
    app(prog_name="elboroom")


if __name__ == "__main__":
    main()
