// Encoding what an outer step sends, in the loop of the format: while a block is coded, the deltas of the
// next are taken and their largest magnitude is found, so that memory is read evenly.
#if defined(THINWIRE_KERNEL_DELTA_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_DELTA_INL_H_
#undef THINWIRE_KERNEL_DELTA_INL_H_
#else
#define THINWIRE_KERNEL_DELTA_INL_H_
#endif

#include "quant/kernel/loops-inl.h"
#include "quant/kernel/sweep-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// The deltas of a block, as take_delta of tile_ops.h.
template <bool kFeedback>
class DeltasBeside {
 public:
  // deltas: room for the block.
  HWY_INLINE DeltasBeside(const DeltaSource& source, std::size_t begin, float* deltas)
      : agreed_(source.agreed.data() + begin),
        local_(source.local.data() + begin),
        residual_(source.residual.data() + (kFeedback ? begin : 0)),
        decay_(hn::Set(kFloat, source.decay)),
        deltas_(deltas),
        is_nan_(hn::FirstN(kFloat, 0)) {}

  HWY_INLINE void at(std::size_t group) {
    for (std::size_t k = 0; k < kVectors; ++k) {
      const std::size_t i = group + k * kLanes;
      ask_soon(agreed_ + i);
      ask_soon(local_ + i);
      Floats delta = hn::Sub(hn::LoadU(kFloat, agreed_ + i), hn::LoadU(kFloat, local_ + i));
      if constexpr (kFeedback) {
        ask_soon_to_change(residual_ + i);
        delta = hn::Add(delta, hn::Mul(decay_, hn::LoadU(kFloat, residual_ + i)));
      }
      hn::Store(delta, kFloat, deltas_ + i);
      largest_.add(k, delta);
      is_nan_ = hn::Or(is_nan_, hn::IsNaN(delta));
    }
  }
  static HWY_INLINE void ask_for(const float*) {}  // the deltas that are coded have just been written

  HWY_INLINE float largest() const { return largest_.result(); }
  HWY_INLINE bool has_nan() const { return !hn::AllFalse(kFloat, is_nan_); }

 private:
  const float* agreed_;
  const float* local_;
  float* residual_;
  Floats decay_;
  float* deltas_;
  Largest largest_;
  hn::Mask<FloatTag> is_nan_;
};

// residual = delta - decode(codes), of a block.
template <class Rule>
HWY_INLINE void keep_rest(const float* deltas, float scale, const std::byte* codes, float* residual) {
  for (std::size_t i = 0; i < kUsualBlock; i += kVectorGroup) {
    Floats levels[kVectors];
    Rule::levels(codes + i / 8 * Rule::kBits, levels);
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Floats decoded = hn::Mul(levels[k], hn::Set(kFloat, scale));
      const Floats rest = hn::Sub(hn::Load(kFloat, deltas + i + k * kLanes), decoded);
      hn::StoreU(rest, kFloat, residual + i + k * kLanes);
    }
  }
}

template <class Rule, Rounding kRounding, bool kFeedback>
HWY_INLINE std::size_t encode_deltas(const BlockRun& run, const DeltaSource& source, std::byte* scales,
                                     std::byte* codes) {
  constexpr std::size_t kCodeBytes = kUsualBlock / 8 * Rule::kBits;
  const std::size_t num_values = run.num_values;
  const std::uint64_t key = run.key, first = run.first;
  alignas(kCacheLine) float deltas[2][kUsualBlock];
  CodeWriter writer(codes, num_values / 8 * Rule::kBits);

  DeltasBeside<kFeedback> leading(source, 0, deltas[0]);
  run_beside(kUsualBlock, leading);
  if (leading.has_nan()) return find_nan(deltas[0]);
  float scale = Rule::scale_of(leading.largest());
  for (std::size_t begin = 0, current = 0; begin < num_values; begin += kUsualBlock, current = 1 - current) {
    const std::size_t next = begin + kUsualBlock;
    const bool is_last = next == num_values;  // then this block's deltas are taken once more, for nothing
    DeltasBeside<kFeedback> ahead(source, is_last ? begin : next, deltas[1 - current]);
    std::byte* out = writer.chunk();
    encode_whole_block<Rule, kRounding, kUsualBlock>(kUsualBlock, key, first + begin, deltas[current], scale,
                                                     out, ahead);
    std::memcpy(scales, &scale, sizeof scale);
    scales += sizeof scale;
    if constexpr (kFeedback) keep_rest<Rule>(deltas[current], scale, out, source.residual.data() + begin);
    writer.end_chunk(kCodeBytes);
    if (ahead.has_nan()) return next + find_nan(deltas[1 - current]);
    scale = Rule::scale_of(ahead.largest());
  }
  writer.finish();
  return num_values;
}

// For blocks of kUsualBlock.
template <class Rule>
std::size_t encode_delta_blocks(const BlockRun& run, const DeltaSource& source, std::byte* scales,
                                std::byte* codes) {
  const auto with_feedback = [&](auto feedback) HWY_ATTR {
    return run.rounding == Rounding::kNearest
               ? encode_deltas<Rule, Rounding::kNearest, feedback()>(run, source, scales, codes)
               : encode_deltas<Rule, Rounding::kStochastic, feedback()>(run, source, scales, codes);
  };
  return source.residual.empty() ? with_feedback(std::false_type()) : with_feedback(std::true_type());
}

// Of a rule whose scale follows from the largest magnitude.
template <class Rule>
BlockLoops ranged_loops_of() {
  BlockLoops loops = loops_of<Rule>();
  loops.encode_delta = &encode_delta_blocks<Rule>;
  return loops;
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_DELTA_INL_H_
