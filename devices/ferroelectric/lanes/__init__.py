"""What SIMD code is made of: the rows of its working array, and arithmetic on vectors."""
