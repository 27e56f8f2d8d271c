#include "quant/kernel/cuda/device.h"

#include <cuda_runtime_api.h>

#include <utility>

#include "quant/kernel/cuda/cuda_check.h"

namespace thinwire::quant::cuda {
namespace {

const char* advice(cudaError_t code) {
  switch (code) {
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
      return "this machine has no usable NVIDIA GPU: look at nvidia-smi, and install or update the driver";
    case cudaErrorMemoryAllocation:
      return "free device memory, or use smaller fragments";
    case cudaErrorNoKernelImageForDevice:
      return "build again with this GPU in CMAKE_CUDA_ARCHITECTURES";
    default:
      return "an earlier kernel may be the cause: run again with CUDA_LAUNCH_BLOCKING=1 or under "
             "compute-sanitizer";
  }
}

void require_room(std::size_t expected_at_most, std::size_t found) {
  if (found <= expected_at_most) return;
  throw std::invalid_argument("DeviceBuffer: expected at most " + std::to_string(expected_at_most) +
                              " bytes to copy, got " + std::to_string(found));
}

cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

}  // namespace

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // so that the next call does not report it again, where it can be got over
  throw CudaError("CUDA: " + std::string(call) + " failed: " + cudaGetErrorName(code) + ", " +
                  cudaGetErrorString(code) + "; " + advice(code));
}

int num_devices() noexcept {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

void use_device(int index) {
  THINWIRE_CUDA_CHECK(cudaSetDevice(index));
}

void synchronize(Stream stream) {
  THINWIRE_CUDA_CHECK(cudaStreamSynchronize(native(stream)));
}

DeviceBuffer::DeviceBuffer(std::size_t num_bytes) : num_bytes_(num_bytes) {
  if (num_bytes > 0) THINWIRE_CUDA_CHECK(cudaMalloc(&data_, num_bytes));
}

DeviceBuffer::~DeviceBuffer() {
  cudaFree(data_);  // of null: nothing
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), num_bytes_(std::exchange(other.num_bytes_, 0)) {}

void DeviceBuffer::copy_from(std::span<const std::byte> bytes, Stream stream) {
  require_room(num_bytes_, bytes.size());
  THINWIRE_CUDA_CHECK(
      cudaMemcpyAsync(data_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, native(stream)));
  synchronize(stream);
}

void DeviceBuffer::copy_to(std::span<std::byte> bytes, Stream stream) const {
  require_room(num_bytes_, bytes.size());
  THINWIRE_CUDA_CHECK(
      cudaMemcpyAsync(bytes.data(), data_, bytes.size(), cudaMemcpyDeviceToHost, native(stream)));
  synchronize(stream);
}

}  // namespace thinwire::quant::cuda
