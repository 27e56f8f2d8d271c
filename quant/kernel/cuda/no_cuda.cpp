// Stands in for device.cu and kernels.cu where the build has no CUDA.
#include "quant/kernel/cuda/device.h"
#include "quant/kernel/cuda/kernels.h"

namespace thinwire::quant::cuda {
namespace {

[[noreturn]] void refuse(const char* call) {
  throw CudaError(
      std::string("CUDA: ") + call +
      ": this build has no CUDA; install the CUDA toolkit (nvcc), configure with -DTHINWIRE_CUDA=ON "
      "and build again");
}

}  // namespace

int num_devices() noexcept {
  return 0;
}

void use_device(int) {
  refuse("use_device");
}

void synchronize(Stream) {
  refuse("synchronize");
}

DeviceBuffer::DeviceBuffer(std::size_t num_bytes) : num_bytes_(num_bytes) {
  refuse("DeviceBuffer");
}

DeviceBuffer::~DeviceBuffer() {}  // not trivial in the twin

DeviceBuffer::DeviceBuffer(DeviceBuffer&&) noexcept = default;

void DeviceBuffer::copy_from(std::span<const std::byte>, Stream) {
  refuse("copy_from");
}

void DeviceBuffer::copy_to(std::span<std::byte>, Stream) const {
  refuse("copy_to");
}

void launch_encode(std::uint8_t, const EncodeJob&, Stream) {
  refuse("encode");
}

void launch_decode(std::uint8_t, const DecodeJob&, Stream) {
  refuse("decode");
}

void launch_commit(std::uint8_t, const CommitJob&, Stream) {
  refuse("commit");
}

}  // namespace thinwire::quant::cuda
