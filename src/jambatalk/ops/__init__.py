"""Operations with several kernels each: selective scan, causal convolution, RMS norm."""
