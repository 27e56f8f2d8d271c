// The one check of CUDA's return codes. Includes CUDA's headers: for sources alone.
#pragma once

#include <cuda_runtime_api.h>

namespace thinwire::quant::cuda {

// Throws CudaError unless code is cudaSuccess.
void check_cuda(cudaError_t code, const char* call);

}  // namespace thinwire::quant::cuda

#define THINWIRE_CUDA_CHECK(call) ::thinwire::quant::cuda::check_cuda(call, #call)
