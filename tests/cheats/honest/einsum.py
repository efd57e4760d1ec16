# exercise: total
# outcome: pass
# marks: slow
# why: a different but equal algorithm: einsum
def total(x):
    return np.einsum("i,j->j", x, np.array([2.0], np.float32)).astype(np.float32)
