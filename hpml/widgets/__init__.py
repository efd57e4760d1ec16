"""Pictures that move. Each widget also carries a static picture, for pages where no kernel runs."""

from hpml.widgets.im2col import im2col, im2col_svg
from hpml.widgets.playground import playground, playground_svg
from hpml.widgets.ring import ring, ring_svg
from hpml.widgets.roofline import roofline, roofline_svg
from hpml.widgets.steps import steps, steps_svg

__all__ = ["im2col", "im2col_svg", "playground", "playground_svg", "ring", "ring_svg", "roofline", "roofline_svg", "steps", "steps_svg"]
