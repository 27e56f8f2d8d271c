#include "quant/kernel/cuda/cuda_codec.h"

#include <algorithm>
#include <stdexcept>

#include "quant/kernel/cuda/kernels.h"

namespace thinwire::quant::cuda {
namespace {

const CodecOptions& supported(const CodecOptions& options) {
  const std::vector<std::string> names = CudaCodec::names();
  std::string known;
  for (const std::string& name : names) known += ' ' + name;
  if (std::find(names.begin(), names.end(), options.name) == names.end()) {
    throw std::invalid_argument("codec '" + options.name + "' has no CUDA kernels; those that have:" + known);
  }
  if (options.rotate) {
    throw std::invalid_argument("codec '" + options.name +
                                "': rotated blocks have no CUDA kernels; rotate on the host");
  }
  return options;
}

void require_length(const char* call, const char* span, std::size_t expected, std::size_t found) {
  if (expected == found) return;
  throw std::invalid_argument(std::string(call) + ": expected " + span + " of " + std::to_string(expected) +
                              " elements, got " + std::to_string(found));
}

std::uint32_t* nan_flag(const char* call, DeviceSpan<std::uint32_t> nan_seen) {
  if (nan_seen.size > 0) require_length(call, "nan_seen", 1, nan_seen.size);
  return nan_seen.size > 0 ? nan_seen.data : nullptr;
}

}  // namespace

CudaCodec::CudaCodec(const CodecOptions& options) : reference_(make_codec(supported(options))) {}

std::vector<std::string> CudaCodec::names() {
  return {"int8", "int4", "int2", "e3m0", "sign"};
}

void CudaCodec::check_code(const char* call, std::size_t num_values, DeviceSpan<const std::byte> code) const {
  require_length(call, "a payload", encoded_bytes(num_values), code.size);
  if (reinterpret_cast<std::uintptr_t>(code.data) % sizeof(float) == 0) return;
  throw std::invalid_argument(std::string(call) +
                              ": expected a payload on a multiple of 4 bytes; copy it to one");
}

void CudaCodec::encode(const Encode& job, Stream stream) const {
  check_code("encode", job.values.size, {job.code.data, job.code.size});
  EncodeJob work{.layout = {job.values.size, reference_->block()},
                 .stream = {reference_->rounding(), job.key},
                 .values = job.values.data,
                 .code = job.code.data,
                 .nan_seen = nan_flag("encode", job.nan_seen)};
  if (job.values.size > 0) launch_encode(reference_->wire_id(), work, stream);
}

void CudaCodec::decode(DeviceSpan<const std::byte> code, DeviceSpan<float> values, Stream stream) const {
  check_code("decode", values.size, code);
  const DecodeJob work{
      .layout = {values.size, reference_->block()}, .code = code.data, .values = values.data};
  if (values.size > 0) launch_decode(reference_->wire_id(), work, stream);
}

void CudaCodec::decode_add(DeviceSpan<const std::byte> code, DeviceSpan<float> sum, Stream stream) const {
  check_code("decode_add", sum.size, code);
  const DecodeJob work{
      .layout = {sum.size, reference_->block()}, .code = code.data, .values = sum.data, .add = true};
  if (sum.size > 0) launch_decode(reference_->wire_id(), work, stream);
}

void CudaCodec::encode_delta(const DeltaEncode& job, Stream stream) const {
  const std::size_t n = job.agreed.size;
  require_length("encode_delta", "local", n, job.local.size);
  if (job.residual.size > 0) require_length("encode_delta", "residual", n, job.residual.size);
  if (!(job.decay >= 0 && job.decay <= 1)) {
    throw std::invalid_argument("encode_delta: decay must lie in [0, 1], got " + std::to_string(job.decay));
  }
  check_code("encode_delta", n, {job.code.data, job.code.size});
  float* const residual = job.residual.size > 0 ? job.residual.data : nullptr;
  EncodeJob work{.layout = {n, reference_->block()},
                 .stream = {reference_->rounding(), job.key},
                 .delta = {job.agreed.data, job.local.data, residual, job.decay},
                 .residual = residual,
                 .code = job.code.data,
                 .nan_seen = nan_flag("encode_delta", job.nan_seen)};
  if (n > 0) launch_encode(reference_->wire_id(), work, stream);
}

void CudaCodec::commit(const Commit& job, Stream stream) const {
  const std::size_t n = job.agreed.size;
  if (job.payloads.empty() || job.payloads.size() > kMaxPayloads) {
    throw std::invalid_argument("commit: expected 1 to " + std::to_string(kMaxPayloads) + " payloads, got " +
                                std::to_string(job.payloads.size()));
  }
  require_length("commit", "momentum", n, job.momentum.size);
  require_length("commit", "local", n, job.local.size);
  CommitJob work{.layout = {n, reference_->block()},
                 .num_payloads = static_cast<unsigned>(job.payloads.size()),
                 .rule = job.rule,
                 .alpha = job.alpha,
                 .spans = {job.momentum.data, job.agreed.data, job.local.data}};
  for (std::size_t r = 0; r < job.payloads.size(); ++r) {
    check_code("commit", n, job.payloads[r]);
    work.payloads[r] = job.payloads[r].data;
  }
  if (n > 0) launch_commit(reference_->wire_id(), work, stream);
}

}  // namespace thinwire::quant::cuda
