"""The logistic method as Triton kernels over a whole sequence, for float32 on CUDA devices."""
