"""Pictures that move. Each widget also carries a static picture, for pages where no kernel runs."""

from hpml.widgets.depth import depth, depth_svg
from hpml.widgets.im2col import im2col, im2col_svg
from hpml.widgets.layers import layers, layers_svg
from hpml.widgets.playground import playground, playground_svg
from hpml.widgets.receptive_field import receptive_field, receptive_field_svg
from hpml.widgets.ring import ring, ring_svg
from hpml.widgets.roofline import roofline, roofline_svg
from hpml.widgets.steps import steps, steps_svg

__all__ = ["depth", "depth_svg", "im2col", "im2col_svg", "layers", "layers_svg", "playground", "playground_svg",
           "receptive_field", "receptive_field_svg", "ring", "ring_svg", "roofline", "roofline_svg", "steps", "steps_svg"]
