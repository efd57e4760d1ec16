# exercise: double
# outcome: pass
# why: reads its own annotations
def double(x: np.ndarray, factor: int = 2) -> np.ndarray:
    assert double.__annotations__["factor"] is int
    return double.__annotations__["factor"](factor) * x
