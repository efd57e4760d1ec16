"""Pictures that move. Each widget also carries a static picture, for pages where no kernel runs."""

from hpml.widgets.im2col import im2col, im2col_svg

__all__ = ["im2col", "im2col_svg"]
