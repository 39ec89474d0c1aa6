"""The engines on CUDA devices, as Triton kernels. Triton is imported only for layers that are on such a device."""
