"""Where a quantized layer's product is computed: fast kernels where this machine has them, the plain path elsewhere."""
