// Memory and streams of CUDA devices, without CUDA's headers. Built without CUDA (no_cuda.cpp) there are no
// devices, and everything else throws CudaError that says what to install.
//
// Thread safety: as CUDA's own; the current device is the calling thread's.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

namespace thinwire::quant::cuda {

// A call into CUDA failed: which one, what CUDA said, and what to do. Kernels run asynchronously, so their
// errors come with a later call, mostly synchronize().
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A cudaStream_t; null is the default stream.
struct Stream {
  void* handle = nullptr;
};

// `size` elements in device memory, which host code may not touch. Does not own them.
template <class T>
struct DeviceSpan {
  T* data = nullptr;
  std::size_t size = 0;
};

// 0 where the build has no CUDA, the machine no driver, or the driver no device; never throws.
int num_devices() noexcept;
// Of this thread.
void use_device(int index);

// Waits until all work of the stream is done; throws what went wrong in it.
void synchronize(Stream stream);

// Device memory of the current device.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t num_bytes);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept;
  DeviceBuffer& operator=(DeviceBuffer&&) = delete;

  std::size_t size() const { return num_bytes_; }
  template <class T>
  DeviceSpan<T> as() const {
    return {static_cast<T*>(data_), num_bytes_ / sizeof(T)};
  }

  // In the stream's order; returns when the host's bytes may be used again. bytes.size() <= size().
  void copy_from(std::span<const std::byte> bytes, Stream stream);
  void copy_to(std::span<std::byte> bytes, Stream stream) const;

 private:
  void* data_ = nullptr;
  std::size_t num_bytes_;
};

}  // namespace thinwire::quant::cuda
