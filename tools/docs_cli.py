"""Write docs/cli.md from the help texts of the commands: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
WIDTH = 100
"""Characters per line of a help text."""
_HEADER = """# Commands

This page contains the help text of each command. `make docs` generates it; do not edit it by hand.
"""


def page() -> str:
    """Return the page as Markdown: one section per command, subcommands included."""
    import click

    from cli import main

    parts = [_HEADER]

    def add(command: click.Command, name: str, parent: click.Context | None) -> None:
        settings: dict[str, Any] = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
        context = click.Context(command, info_name=name, parent=parent, **settings)
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## {context.command_path}\n\n```text\n{text}\n```\n")
        if isinstance(command, click.Group):
            for child in sorted(command.commands):
                add(command.commands[child], child, context)

    add(main, "gkcmn-pipe", None)
    return "\n".join(parts)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(page(), encoding="utf-8")
