// What CudaCodec hands to the device: jobs whose spans it has checked. kernels.cu, or no_cuda.cpp in its
// stead.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "quant/kernel/cuda/block_kernels.h"
#include "quant/kernel/cuda/device.h"

namespace thinwire::quant::cuda {

// Payloads of one commit: their addresses travel as an argument of the kernel.
inline constexpr std::size_t kMaxPayloads = 64;

struct EncodeJob {
  Layout layout;
  EncodeStream stream;
  // Either values, or the delta of agreed and local.
  const float* values = nullptr;
  Delta delta{};
  float* residual = nullptr;
  std::byte* code = nullptr;
  std::uint32_t* nan_seen = nullptr;
};

struct DecodeJob {
  Layout layout;
  const std::byte* code = nullptr;
  float* values = nullptr;
  bool add = false;  // to the values
};

struct CommitJob {
  Layout layout;
  std::array<const std::byte*, kMaxPayloads> payloads{};
  unsigned num_payloads = 0;
  NesterovRule rule;
  float alpha = 0;
  OuterSpans spans{};
};

// wire_id: of a format that CudaCodec offers. layout.num_values > 0. Asynchronous.
void launch_encode(std::uint8_t wire_id, const EncodeJob& job, Stream stream);
void launch_decode(std::uint8_t wire_id, const DecodeJob& job, Stream stream);
void launch_commit(std::uint8_t wire_id, const CommitJob& job, Stream stream);

}  // namespace thinwire::quant::cuda
