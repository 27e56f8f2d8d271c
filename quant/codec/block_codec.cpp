#include "quant/codec/block_codec.h"

namespace thinwire::quant {

BlockCodec::BlockCodec(const Format& format, const BlockLoops& fast, const CodecOptions& options)
    : BlockLayoutCodec(options, format.has_scale), format_(format), fast_(fast) {}

std::size_t BlockCodec::block_code_bytes(std::size_t num_values) const {
  return format_.code_bytes(num_values);
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

std::size_t BlockCodec::encode_delta_range(std::size_t n, std::size_t first, const DeltaSource& source,
                                           std::uint64_t key, std::span<std::byte> code) const {
  if (fast_.encode_delta == nullptr) return Codec::encode_delta_range(n, first, source, key, code);
  check_size(n, code.size());
  check_range(n, {first, source.agreed.size()});
  std::size_t nan = kNoNan;
  for_each_run(n, {first, source.agreed.size()},
               [&](const BlockLoops& loops, BlockRun run, std::size_t scales, std::size_t codes) {
                 if (nan != kNoNan) return;
                 const DeltaSource part = source.part({run.first - first, run.num_values});
                 if (loops.encode_delta == nullptr) {
                   nan = Codec::encode_delta_range(n, run.first, part, key, code);
                   return;
                 }
                 run.key = key;
                 run.rounding = rounding();
                 const std::size_t numbers =
                     loops.encode_delta(run, part, code.data() + scales, code.data() + codes);
                 if (numbers < run.num_values) nan = run.first + numbers;
               });
  return nan;
}

}  // namespace thinwire::quant
