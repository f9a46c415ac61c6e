"""The chart: what a job costs against how many the day already has."""

from __future__ import annotations

from math import log10
from pathlib import Path

import pygal

from bench.contenders import Contender
from bench.figures import Point


def draw(depth: dict[str, list[Point]], contenders: list[Contender], path: Path) -> None:
    """Write the chart of all contenders as SVG."""
    style = pygal.style.Style(colors=_COLORS, background="white", plot_background="white")
    chart = pygal.XY(
        title="Cost of a job against the jobs that the day already has",
        x_title="jobs of the day",
        y_title="ms a job (logarithmic)",
        y_labels=[{"value": log10(label), "label": f"{label:g}"} for label in _LABELS],
        width=1100,
        height=720,
        dots_size=2,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        truncate_legend=-1,
        margin_bottom=40,  # pygal counts one row of the legend too few
        value_formatter=lambda value: f"{10**value:.3g}",
        x_value_formatter=lambda value: f"{value:,.0f}",
        style=style,
        js=[],
        disable_xml_declaration=True,
    )
    for contender in contenders:
        if points := depth.get(contender.name):
            title = f"{contender.family.value}: {contender.title}"
            chart.add(title, [(point.depth, log10(point.ms_per_job)) for point in points])
    path.write_text(chart.render(is_unicode=True), encoding="utf-8")


_LABELS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
"""The axis is linear to pygal, which would make both of them logarithmic, and leave out the start of the day."""

_COLORS = (
    "#0b6e4f", "#22a06b", "#7bc8a4", "#b2df8a",
    "#c0c0c0", "#a0a0a0", "#808080", "#606060", "#303030",
    "#b2182b", "#ef8a62", "#fdae61",
    "#4393c3", "#2166ac", "#9970ab",
)  # fmt: skip
