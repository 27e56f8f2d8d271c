#include "quant/codec/block_codec.h"

#include <algorithm>
#include <stdexcept>

namespace thinwire::quant {

BlockCodec::BlockCodec(const Format& format, const BlockLoops& fast, const CodecOptions& options)
    : Codec(options), format_(format), fast_(fast) {}

std::size_t BlockCodec::scale_bytes(std::size_t n) const {
  return format_.has_scale ? sizeof(float) * ((n + block() - 1) / block()) : 0;
}

std::size_t BlockCodec::code_bytes(std::size_t n) const {
  return n / block() * format_.code_bytes(block()) + format_.code_bytes(n % block());
}

std::size_t BlockCodec::encoded_bytes(std::size_t n) const {
  return scale_bytes(n) + code_bytes(n);
}

void BlockCodec::check_size(std::size_t n, std::size_t code_size) const {
  if (code_size == encoded_bytes(n)) return;
  throw std::invalid_argument("codec '" + std::string(name()) + "', block " + std::to_string(block()) + ": " +
                              std::to_string(n) + " values take " + std::to_string(encoded_bytes(n)) +
                              " bytes, the code has " + std::to_string(code_size));
}

void BlockCodec::check_range(std::size_t n, const Range& range) const {
  const std::size_t end = range.first + range.count;
  const auto is_border = [&](std::size_t value) { return value == n || (value < n && value % block() == 0); };
  if (end >= range.first && is_border(range.first) && is_border(end)) return;
  throw std::invalid_argument("codec '" + std::string(name()) + "': values " + std::to_string(range.first) +
                              " to " + std::to_string(end) + " of " + std::to_string(n) +
                              " do not lie on borders of blocks of " + std::to_string(block()));
}

template <class Call>
void BlockCodec::for_each_run(std::size_t n, const Range& range, Call call) const {
  const std::size_t whole = fast_.encode != nullptr ? range.count / block() * block() : 0;
  const auto call_from = [&](const BlockLoops& loops, std::size_t first, std::size_t count) {
    if (count == 0) return;
    call(loops, BlockRun{.block = block(), .num_values = count, .first = first}, scale_bytes(first),
         scale_bytes(n) + code_bytes(first));
  };
  call_from(fast_, range.first, whole);
  call_from(format_.reference, range.first + whole, range.count - whole);
}

void BlockCodec::encode_range(std::size_t n, std::size_t first, std::span<const float> values,
                              std::uint64_t key, std::span<std::byte> code) const {
  check_size(n, code.size());
  check_range(n, {first, values.size()});
  for_each_run(n, {first, values.size()},
               [&](const BlockLoops& loops, BlockRun run, std::size_t scales, std::size_t codes) {
                 run.key = key;
                 run.rounding = rounding();
                 loops.encode(run, values.data() + (run.first - first), code.data() + scales,
                              code.data() + codes);
               });
}

void BlockCodec::decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                              std::span<float> values) const {
  check_size(n, code.size());
  check_range(n, {first, values.size()});
  for_each_run(n, {first, values.size()},
               [&](const BlockLoops& loops, const BlockRun& run, std::size_t scales, std::size_t codes) {
                 loops.decode(run, code.data() + scales, code.data() + codes,
                              values.data() + (run.first - first));
               });
}

void BlockCodec::decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                                  std::span<float> sum) const {
  check_size(n, code.size());
  check_range(n, {first, sum.size()});
  for_each_run(n, {first, sum.size()},
               [&](const BlockLoops& loops, const BlockRun& run, std::size_t scales, std::size_t codes) {
                 loops.decode_add(run, code.data() + scales, code.data() + codes,
                                  sum.data() + (run.first - first));
               });
}

void BlockCodec::slice(std::span<const std::byte> code, std::size_t n, const Range& range,
                       std::span<std::byte> part) const {
  check_range(n, range);
  check_size(n, code.size());
  check_size(range.count, part.size());
  const auto scales = code.subspan(scale_bytes(range.first), scale_bytes(range.count));
  const auto codes = code.subspan(scale_bytes(n) + code_bytes(range.first), part.size() - scales.size());
  std::copy(codes.begin(), codes.end(), std::copy(scales.begin(), scales.end(), part.begin()));
}

}  // namespace thinwire::quant
