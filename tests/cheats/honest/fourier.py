# exercise: double
# outcome: pass
# why: a different but equal algorithm: there and back through Fourier space
def double(x):
    return np.fft.irfft(2 * np.fft.rfft(x.astype(np.float64)), len(x)).astype(np.float32)
