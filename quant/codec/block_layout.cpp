#include "quant/codec/block_layout.h"

#include <algorithm>
#include <stdexcept>

namespace thinwire::quant {

std::size_t BlockLayoutCodec::scale_bytes(std::size_t n) const {
  return has_scale_ ? sizeof(float) * ((n + block() - 1) / block()) : 0;
}

std::size_t BlockLayoutCodec::code_bytes(std::size_t n) const {
  return n / block() * block_code_bytes(block()) + block_code_bytes(n % block());
}

std::size_t BlockLayoutCodec::encoded_bytes(std::size_t n) const {
  return scale_bytes(n) + code_bytes(n);
}

void BlockLayoutCodec::check_size(std::size_t n, std::size_t code_size) const {
  if (code_size == encoded_bytes(n)) return;
  throw std::invalid_argument("codec '" + std::string(name()) + "', block " + std::to_string(block()) + ": " +
                              std::to_string(n) + " values take " + std::to_string(encoded_bytes(n)) +
                              " bytes, the code has " + std::to_string(code_size));
}

void BlockLayoutCodec::check_range(std::size_t n, const Range& range) const {
  const std::size_t end = range.first + range.count;
  const auto is_border = [&](std::size_t value) { return value == n || (value < n && value % block() == 0); };
  if (end >= range.first && is_border(range.first) && is_border(end)) return;
  throw std::invalid_argument("codec '" + std::string(name()) + "': values " + std::to_string(range.first) +
                              " to " + std::to_string(end) + " of " + std::to_string(n) +
                              " do not lie on borders of blocks of " + std::to_string(block()));
}

void BlockLayoutCodec::slice(std::span<const std::byte> code, std::size_t n, const Range& range,
                             std::span<std::byte> part) const {
  check_range(n, range);
  check_size(n, code.size());
  check_size(range.count, part.size());
  const auto scales = code.subspan(scale_bytes(range.first), scale_bytes(range.count));
  const auto codes = code.subspan(scale_bytes(n) + code_bytes(range.first), part.size() - scales.size());
  std::copy(codes.begin(), codes.end(), std::copy(scales.begin(), scales.end(), part.begin()));
}

}  // namespace thinwire::quant
