"""The logistic method as one Triton kernel a macro step or a sequence: for float32 on CUDA devices."""
