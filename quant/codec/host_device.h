// Marks what the CUDA kernels share with the host: one definition of the arithmetic, compiled for both.
#pragma once

#if defined(__CUDACC__)
#define THINWIRE_HOST_DEVICE __host__ __device__
#else
#define THINWIRE_HOST_DEVICE
#endif
