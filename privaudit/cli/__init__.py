"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import typer

from privaudit.cli import audit, finished, information

app = typer.Typer(
    name="privaudit",
    help="Attacks a release candidate of a private image dataset as an adversary would, and judges it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("audit")(audit.audit)
app.command("check")(finished.check)
app.command("compare")(finished.compare)
app.command("report")(finished.report)
app.command("init")(information.init)
app.command("plugins")(information.plugins)
app.command("doctor")(information.doctor)


def main() -> None:
    """Entry point of the console script."""
    app()
