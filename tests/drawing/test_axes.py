"""What pictures of figures have in common."""

from __future__ import annotations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sycam.drawing.axes import entitle


def test_a_long_title_is_whole_however_many_layers_it_names():
    layers = " + ".join(f"blocks.{i}._project_conv.static_padding" for i in range(6))
    figure = Figure(figsize=(7.4, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    entitle(figure, f"network, {layers}: front on the search images")
    figure.draw_without_rendering()
    (title,) = figure.texts
    box, frame = title.get_window_extent(), axis.get_window_extent()
    assert title.get_text().replace("\n", " ").endswith("front on the search images")
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert frame.y1 < box.y0 < box.y1 <= figure.bbox.height
