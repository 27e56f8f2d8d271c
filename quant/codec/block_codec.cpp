#include "quant/codec/block_codec.h"

#include <algorithm>
#include <stdexcept>

namespace thinwire::quant {

BlockCodec::BlockCodec(const Format& format, const BlockLoops& fast, std::size_t block, Rounding rounding)
    : Codec(block, rounding), format_(format), fast_(fast) {}

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

template <class Call>
void BlockCodec::for_each_run(std::size_t n, Call call) const {
  const std::size_t whole = fast_.encode != nullptr ? n / block() * block() : 0;
  const std::size_t first_code = scale_bytes(n);
  if (whole > 0) call(fast_, BlockRun{.block = block(), .num_values = whole}, 0, first_code);
  if (whole == n) return;
  call(format_.reference, BlockRun{.block = block(), .num_values = n - whole, .first = whole},
       scale_bytes(whole), first_code + encoded_bytes(whole) - scale_bytes(whole));
}

void BlockCodec::encode(std::span<const float> values, std::uint64_t key, std::span<std::byte> code) const {
  check_sizes(values.size(), code.size());
  for_each_run(values.size(),
               [&](const BlockLoops& loops, BlockRun run, std::size_t scales, std::size_t codes) {
                 run.key = key;
                 run.rounding = rounding();
                 loops.encode(run, values.data() + run.first, code.data() + scales, code.data() + codes);
               });
}

void BlockCodec::decode(std::span<const std::byte> code, std::span<float> values) const {
  check_sizes(values.size(), code.size());
  for_each_run(values.size(),
               [&](const BlockLoops& loops, const BlockRun& run, std::size_t scales, std::size_t codes) {
                 loops.decode(run, code.data() + scales, code.data() + codes, values.data() + run.first);
               });
}

void BlockCodec::decode_add(std::span<const std::byte> code, std::span<float> sum) const {
  check_sizes(sum.size(), code.size());
  for_each_run(sum.size(),
               [&](const BlockLoops& loops, const BlockRun& run, std::size_t scales, std::size_t codes) {
                 loops.decode_add(run, code.data() + scales, code.data() + codes, sum.data() + run.first);
               });
}

void BlockCodec::slice(std::span<const std::byte> code, std::size_t n, const Range& range,
                       std::span<std::byte> part) const {
  const std::size_t end = range.first + range.count;
  const auto is_border = [&](std::size_t value) { return value == n || (value < n && value % block() == 0); };
  if (end < range.first || !is_border(range.first) || !is_border(end)) {
    throw std::invalid_argument("slice: values " + std::to_string(range.first) + " to " +
                                std::to_string(end) + " of " + std::to_string(n) +
                                " do not lie on borders of blocks of " + std::to_string(block()));
  }
  check_sizes(n, code.size());
  check_sizes(range.count, part.size());
  const std::size_t first_scale = scale_bytes(range.first);
  const std::size_t first_code = scale_bytes(n) + encoded_bytes(range.first) - first_scale;
  const std::size_t num_scale_bytes = scale_bytes(range.count);
  const auto scales = code.subspan(first_scale, num_scale_bytes);
  const auto codes = code.subspan(first_code, part.size() - num_scale_bytes);
  std::copy(codes.begin(), codes.end(), std::copy(scales.begin(), scales.end(), part.begin()));
}

}  // namespace thinwire::quant
