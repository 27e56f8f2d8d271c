// How a span of float32 becomes few bits and comes back: the one interface of every wire and storage format.
//
// A payload covers n values in blocks of B (the last block may be short); B states the granularity of the
// scale. Its size is a closed formula of (n, B, format). docs/wire_format.md gives the bytes of each format;
// the scalar reference (quant/codec) defines them, the SIMD forms (quant/kernel) must equal it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinwire::quant {

enum class Rounding : std::uint8_t { kNearest = 0, kStochastic = 1 };

struct CodecOptions {
  std::string name = "fp32";               // one of codec_names()
  std::size_t block = 256;                 // values per scale; a positive multiple of 8
  Rounding rounding = Rounding::kNearest;  // ties go to the even code index
  std::size_t k = 64;                      // topk: values kept of every chunk of 4096
  bool rotate = false;                     // Hadamard rotation of each block before it is coded
};

// Values [first, first + count).
struct Range {
  std::size_t first = 0;
  std::size_t count = 0;
};

// What an outer step sends: agreed - local (+ decay * residual), old agreed copy minus drifted local
// parameters.
struct DeltaSource {
  std::span<const float> agreed = {};
  std::span<const float> local = {};
  std::span<float> residual = {};  // of the same length, or empty: no error feedback
  float decay = 1;

  DeltaSource part(const Range& range) const {
    return {.agreed = agreed.subspan(range.first, range.count),
            .local = local.subspan(range.first, range.count),
            .residual = residual.empty() ? residual : residual.subspan(range.first, range.count),
            .decay = decay};
  }
};

// A view of `code`, a payload of num_values values, from value `first` on. first: a multiple of the block.
struct CodedValues {
  std::span<const std::byte> code = {};
  std::size_t num_values = 0;
  std::size_t first = 0;
};

// A payload may be coded in ranges: values [first, first + count) of n give the same bytes at the same places
// as in one call over all. Both borders are multiples of the block, or n; std::invalid_argument otherwise.
// Ranges that do not overlap may be coded by different threads at once.
//
// Thread safety: const methods may run concurrently. Only encode_delta_range allocates, and only for blocks
// of more than 4096 values.
class Codec {
 public:
  virtual ~Codec() = default;

  virtual std::string_view name() const = 0;
  // The format's number in wire headers; never reused.
  virtual std::uint8_t wire_id() const = 0;
  const CodecOptions& options() const { return options_; }
  std::size_t block() const { return options_.block; }
  Rounding rounding() const { return options_.rounding; }

  // Exact size of the payload of n values, n >= 0.
  virtual std::size_t encoded_bytes(std::size_t n) const = 0;

  // * values: those of the range from `first` on, any float32 but NaN (refuse NaN first with find_nan; here
  //   it gives unspecified codes, no crash).
  // * key: the stochastic stream; value i of the payload draws from (key, i). Ignored when rounding to
  //   nearest.
  // * code: the whole payload, exactly encoded_bytes(n) bytes; all bytes of the range are written, no others.
  //   The spans must not overlap.
  virtual void encode_range(std::size_t n, std::size_t first, std::span<const float> values,
                            std::uint64_t key, std::span<std::byte> code) const = 0;

  // values = decode(code), from value `first` on. code: the whole payload, exactly encoded_bytes(n) bytes, of
  // any content: foreign bytes give some floats, never a crash.
  virtual void decode_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                            std::span<float> values) const = 0;

  // sum += decode(code) from value `first` on, one float32 addition a value.
  virtual void decode_add_range(std::size_t n, std::size_t first, std::span<const std::byte> code,
                                std::span<float> sum) const = 0;

  // code = encode(delta) and residual = delta - decode(code), one float32 subtraction, in one sweep over the
  // range from `first` on. source: spans of equal
  // length that cover the range. Returns the index in the payload of the first
  // NaN among the deltas, or kNoNan. With one, code and residual are unusable.
  static constexpr std::size_t kNoNan = ~std::size_t{0};
  [[nodiscard]] virtual std::size_t encode_delta_range(std::size_t n, std::size_t first,
                                                       const DeltaSource& source, std::uint64_t key,
                                                       std::span<std::byte> code) const;

  // The range of all n = values.size() values.
  void encode(std::span<const float> values, std::uint64_t key, std::span<std::byte> code) const {
    encode_range(values.size(), 0, values, key, code);
  }
  void decode(std::span<const std::byte> code, std::span<float> values) const {
    decode_range(values.size(), 0, code, values);
  }
  void decode_add(std::span<const std::byte> code, std::span<float> sum) const {
    decode_add_range(sum.size(), 0, code, sum);
  }

  // Cuts the payload of values [first, first + count) out of `code`, the payload of n values, without
  // decoding. part: exactly encoded_bytes(count) bytes, all written.
  virtual void slice(std::span<const std::byte> code, std::size_t n, const Range& range,
                     std::span<std::byte> part) const = 0;

 protected:
  explicit Codec(CodecOptions options) : options_(std::move(options)) {}

 private:
  const CodecOptions options_;
};

// Throws std::invalid_argument that names the known codecs, or the block's rule. The codec runs on the SIMD
// target that is active now (quant/kernel/target.h); the bytes are the same on all.
std::unique_ptr<Codec> make_codec(const CodecOptions& options);

// fp32 bf16 e4m3 e5m2 int8 int4 int2 nf4 e2m1 e3m0 ternary sign topk
std::vector<std::string> codec_names();

// Index of the first NaN, or values.size() if there is none. Infinities are not NaN.
std::size_t find_nan(std::span<const float> values);

// The key of a payload's stochastic stream.
struct StreamPosition {
  std::uint64_t seed = 0;
  std::uint64_t step = 0;
  std::uint32_t worker = 0;
  std::uint32_t fragment = 0;
  std::uint32_t leg = 0;
};
std::uint64_t stream_key(const StreamPosition& position);

}  // namespace thinwire::quant
