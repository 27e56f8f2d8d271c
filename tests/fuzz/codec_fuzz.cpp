// Every codec, by a number in the input, at any block and length: foreign bytes decoded, added and cut, any
// floats encoded. Every SIMD target must give the scalar reference's bits.
#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <stdexcept>

#include "quant/codec/codec.h"
#include "quant/kernel/target.h"
#include "tests/fuzz/input.h"

namespace thinwire::fuzz {
namespace {

using quant::Codec;
using quant::CodecOptions;
using quant::Target;
using Bytes = std::vector<std::byte>;
using Floats = std::vector<float>;

constexpr std::size_t kMaxValues = 9000;
constexpr std::size_t kBlocks[] = {8, 32, 64, 160, 256, 1024, 4096};

struct Case {
  CodecOptions options;
  std::size_t n = 0;
  std::uint64_t key = 0;
};

Case take_case(Input& input) {
  static const std::vector<std::string> names = quant::codec_names();
  Case one;
  one.options.name = names[input.take<std::uint8_t>() % names.size()];
  const auto choice = input.take<std::uint8_t>();
  one.options.block = kBlocks[choice / 4 % std::size(kBlocks)];
  one.options.rounding = static_cast<quant::Rounding>(choice % 2);
  one.options.rotate = choice / 2 % 2 == 1;
  one.options.k = 1 + input.take<std::uint8_t>();
  one.n = input.take_below(kMaxValues);
  one.key = input.take<std::uint64_t>();
  return one;
}

std::unique_ptr<Codec> codec_on(Target target, const CodecOptions& options) {
  const quant::ForcedTarget guard(target);
  return quant::make_codec(options);
}

// Bits, but all NaN alike: their payloads are no part of the format.
bool same(const Floats& a, const Floats& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) {
    return std::bit_cast<std::uint32_t>(x) == std::bit_cast<std::uint32_t>(y) ||
           (std::isnan(x) && std::isnan(y));
  });
}

Floats decoded(const Codec& codec, const Bytes& code, std::size_t n) {
  Floats values(n, 1.0f);
  codec.decode(code, values);
  Floats sum(n, 0.0f);
  codec.decode_add(code, sum);
  for (std::size_t i = 0; i < n; ++i) values.push_back(sum[i]);
  return values;
}

Bytes encoded(const Codec& codec, const Floats& values, std::uint64_t key) {
  Bytes code(codec.encoded_bytes(values.size()), std::byte{0xa5});
  codec.encode(values, key, code);
  return code;
}

// A part of a payload decodes to that part of the values.
void cut(const Codec& codec, const Bytes& code, std::size_t n, std::size_t borders) {
  const std::size_t blocks = (n + codec.block() - 1) / codec.block();
  const std::size_t first = borders % (blocks + 1) * codec.block();
  const std::size_t last =
      std::min(n, (first / codec.block() + borders / 256 % (blocks + 1)) * codec.block());
  if (first > last) return;
  Bytes part(codec.encoded_bytes(last - first));
  try {
    codec.slice(code, n, {first, last - first}, part);
  } catch (const std::invalid_argument&) {  // a format may have coarser borders than the block's
    return;
  }
  Floats all(n), some(last - first);
  codec.decode(code, all);
  codec.decode(part, some);
  require(same(some, Floats(all.begin() + static_cast<std::ptrdiff_t>(first),
                            all.begin() + static_cast<std::ptrdiff_t>(last))),
          "a slice decodes to its values");
}

void check(const Case& one, Input& input) {
  const auto reference = codec_on(Target::kScalar, one.options);
  const std::size_t borders = input.take<std::uint16_t>();
  const Bytes code = input.take_bytes(reference->encoded_bytes(one.n));
  const Floats values_and_sum = decoded(*reference, code, one.n);
  cut(*reference, code, one.n, borders);

  Floats values(one.n);
  const Bytes bits = input.rest().empty() ? code : input.take_bytes(one.n * sizeof(float));
  const auto whole = std::span(bits).first(std::min(bits.size(), one.n * sizeof(float)));
  std::ranges::copy(whole, std::as_writable_bytes(std::span(values)).begin());
  const bool numbers = quant::find_nan(values) == values.size();
  const Bytes own = encoded(*reference, values, one.key);
  for (const Target target : quant::compiled_targets()) {
    if (!quant::is_supported(target) || target == Target::kScalar) continue;
    const auto fast = codec_on(target, one.options);
    require(same(decoded(*fast, code, one.n), values_and_sum), "every target decodes alike");
    const Bytes fast_code = encoded(*fast, values, one.key);
    require(!numbers || fast_code == own, "every target encodes alike");
  }
}

}  // namespace

std::vector<std::string> seeds() {
  std::vector<std::string> all;
  for (std::size_t codec = 0; codec < quant::codec_names().size(); ++codec) {
    for (const std::uint8_t choice : {0, 7, 17}) {
      Seed seed;
      seed.put(static_cast<std::uint8_t>(codec)).put(choice).put(std::uint8_t{7});
      seed.put(static_cast<std::uint16_t>(choice == 17 ? 700 : 41))
          .put(std::uint64_t{99})
          .put(std::uint16_t{257});
      for (unsigned i = 0; i < 64; ++i) seed.put(0.01f * static_cast<float>(i) - 0.3f);
      all.push_back(seed.text());
    }
  }
  return all;
}

}  // namespace thinwire::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  thinwire::fuzz::Input input(data, size);
  const auto one = thinwire::fuzz::take_case(input);
  try {
    thinwire::quant::make_codec(one.options);
  } catch (const std::invalid_argument&) {  // a format may refuse some blocks
    return 0;
  }
  thinwire::fuzz::check(one, input);
  return 0;
}
