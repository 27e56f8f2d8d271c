// The codecs int8, int4, int2, e3m0 and sign on a CUDA device: the bytes and floats of quant/codec and of
// quant/kernel/outer_ops.h, to the bit (float32 without contraction, denormals kept).
//
//   const CudaCodec codec({.name = "e3m0"});
//   codec.encode_delta({.agreed = g, .local = theta, .residual = r, .code = mine}, stream);   // asynchronous
//   ... payloads travel ...
//   codec.commit({.payloads = all_by_rank, .momentum = v, .agreed = g, .local = theta}, stream);
//
// Calls return when the work is in the stream; spans must stay until it is done. Payloads lie on addresses
// that are multiples of 4. Arguments are checked first: std::invalid_argument. CudaError if CUDA fails, or is
// not in this build. Blocks of up to a few thousand values are fast; longer ones are right, but leave the
// device idle.
//
// Thread safety: const methods may run concurrently.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "quant/codec/codec.h"
#include "quant/kernel/cuda/device.h"
#include "quant/kernel/outer_ops.h"

namespace thinwire::quant::cuda {

class CudaCodec {
 public:
  // Throws std::invalid_argument for another format, a rotation, or what make_codec refuses.
  explicit CudaCodec(const CodecOptions& options);

  static std::vector<std::string> names();
  std::size_t encoded_bytes(std::size_t num_values) const { return reference_->encoded_bytes(num_values); }

  struct Encode {
    DeviceSpan<const float> values;
    std::uint64_t key = 0;       // of the stochastic stream
    DeviceSpan<std::byte> code;  // encoded_bytes(values.size)
    DeviceSpan<std::uint32_t>
        nan_seen{};  // one element, or none: set to 1 if a value is NaN; else left as it is
  };
  void encode(const Encode& job, Stream stream) const;

  void decode(DeviceSpan<const std::byte> code, DeviceSpan<float> values, Stream stream) const;
  // sum += decode(code)
  void decode_add(DeviceSpan<const std::byte> code, DeviceSpan<float> sum, Stream stream) const;

  // value = agreed - local + decay * residual is encoded, residual = value - decode(code) kept: outer_delta
  // and ErrorFeedback::encode in one sweep. Without a residual: value = agreed - local.
  struct DeltaEncode {
    DeviceSpan<const float> agreed;
    DeviceSpan<const float> local;
    DeviceSpan<float> residual{};  // as long as agreed, or empty
    float decay = 1;               // in [0, 1]
    std::uint64_t key = 0;
    DeviceSpan<std::byte> code;
    DeviceSpan<std::uint32_t> nan_seen{};
  };
  void encode_delta(const DeltaEncode& job, Stream stream) const;

  // The mean of the payloads, added in their order and divided by their number, then nesterov_step on
  // (agreed, momentum) and merge_into_local, in one sweep. At most 64 payloads: for more, decode, decode_add
  // each.
  struct Commit {
    std::vector<DeviceSpan<const std::byte>> payloads;  // by rank
    NesterovRule rule{};
    float alpha = 0;  // share of the local copy that is kept
    DeviceSpan<float> momentum;
    DeviceSpan<float> agreed;
    DeviceSpan<float> local;
  };
  void commit(const Commit& job, Stream stream) const;

 private:
  void check_code(const char* call, std::size_t num_values, DeviceSpan<const std::byte> code) const;

  std::unique_ptr<const Codec> reference_;  // for sizes and checks
};

}  // namespace thinwire::quant::cuda
