"""`rocks report metrics`"""

from __future__ import annotations

import rocks.commands


class Command(rocks.commands.Command):
    """
    Report the site as metrics for Prometheus, in its text format: whether each host answers, its load and memory and
    what virtual machines take of them; the machines of each cluster; images on their way; leases, problems, the audit
    log. All hosts and NASes are asked at once, each for 5 s. The guide's page overview.md has a timer that gives the
    metrics to node_exporter, alert rules and a dashboard.

    <example cmd='report metrics'>
    Print the metrics.
    </example>

    <related>list site</related>
    <related>check site</related>
    """

    def run(self, params: dict[str, str], args: list[str]) -> None:
        """Print the metrics."""
        from rocks.site.overview import read_metrics  # hosts are reached by heavy libraries

        self.addText(read_metrics(self.db))
