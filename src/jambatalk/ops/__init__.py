"""Operations with several implementations: the selective scan, the causal convolution, the RMS
norm.
"""
