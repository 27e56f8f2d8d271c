#include "quant/codec/block_codec.h"

#include <stdexcept>

namespace thinwire::quant {

BlockCodec::BlockCodec(const Format& format, std::size_t block, Rounding rounding)
    : Codec(block, rounding), format_(format) {}

std::size_t BlockCodec::scale_bytes(std::size_t n) const {
  return format_.has_scale ? sizeof(float) * ((n + block() - 1) / block()) : 0;
}

std::size_t BlockCodec::encoded_bytes(std::size_t n) const {
  return scale_bytes(n) + n / block() * format_.code_bytes(block()) + format_.code_bytes(n % block());
}

void BlockCodec::check_sizes(std::size_t n, std::size_t code_size) const {
  if (code_size == encoded_bytes(n)) return;
  throw std::invalid_argument("codec '" + std::string(name()) + "', block " + std::to_string(block()) + ": " +
                              std::to_string(n) + " values take " + std::to_string(encoded_bytes(n)) +
                              " bytes, the code has " + std::to_string(code_size));
}

void BlockCodec::encode(std::span<const float> values, std::uint64_t key, std::span<std::byte> code) const {
  check_sizes(values.size(), code.size());
  const BlockRun run{.block = block(), .num_values = values.size(), .key = key, .rounding = rounding()};
  format_.reference.encode(run, values.data(), code.data(), code.data() + scale_bytes(values.size()));
}

void BlockCodec::decode(std::span<const std::byte> code, std::span<float> values) const {
  check_sizes(values.size(), code.size());
  const BlockRun run{.block = block(), .num_values = values.size()};
  format_.reference.decode(run, code.data(), code.data() + scale_bytes(values.size()), values.data());
}

void BlockCodec::decode_add(std::span<const std::byte> code, std::span<float> sum) const {
  check_sizes(sum.size(), code.size());
  const BlockRun run{.block = block(), .num_values = sum.size()};
  format_.reference.decode_add(run, code.data(), code.data() + scale_bytes(sum.size()), sum.data());
}

}  // namespace thinwire::quant
