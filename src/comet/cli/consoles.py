"""`comet console`: an address for the browser, or the serial console in this terminal."""

from __future__ import annotations

from comet.cli.context import Context
from comet.cli.output import show


def console(context: Context) -> int:
    given = context.arguments
    if context.option("serial"):
        from comet.cli.serial import attach

        found = context.client.console(given.cluster, given.node, "serial")
        return attach(context.client.connection, found.websocket_path, context.say)
    found = context.client.console(given.cluster, given.node)
    show(found.page_url)
    if not context.option("link"):
        import webbrowser

        if not webbrowser.open(found.page_url):
            context.say("no browser could be started: open the address above, within 30 s")
    return 0
