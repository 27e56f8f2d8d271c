// Encoding in two steps: a draft of the block, then its codes. Packing crosses the vectors in which the draft
// was written, and a load that crosses recent stores waits. So each loop drafts one block while the draft of
// the one before it settles.
//
// struct Draft {
//   void clear(std::size_t block);                      // of scale 0
//   void fill(std::size_t block, std::uint64_t key, std::uint64_t first, const float* values, float scale,
//             Beside& beside);
//   void pack(std::size_t block, std::byte* codes) const;
// };
#if defined(THINWIRE_KERNEL_SETTLED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_SETTLED_INL_H_
#undef THINWIRE_KERNEL_SETTLED_INL_H_
#else
#define THINWIRE_KERNEL_SETTLED_INL_H_
#endif

#include "quant/kernel/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

template <class Draft, class Rule, Rounding kRounding, std::size_t kBlock>
HWY_INLINE void encode_settled(const BlockRun& run, std::size_t code_bytes, const float* values,
                               std::byte* scales, std::byte* codes) {
  const std::size_t block = block_of<kBlock>(run);
  const std::uint64_t key = run.key, first = run.first;
  Draft drafts[2];
  std::size_t current = 0;
  CodeWriter writer(codes, run.num_values / block * code_bytes);
  const auto write = [&](const Draft& settled) HWY_ATTR {
    settled.pack(block, writer.chunk());
    writer.end_chunk(code_bytes);
  };
  for_each_scaled_block<Rule, kRounding, kBlock>(
      run, values, scales, [&](float scale, std::size_t begin, auto& beside) HWY_ATTR {
        if (scale > 0) {
          drafts[current].fill(block, key, first + begin, values + begin, scale, beside);
        } else {
          run_beside(block, beside);
          drafts[current].clear(block);
        }
        current = 1 - current;
        if (begin > 0) write(drafts[current]);
      });
  write(drafts[1 - current]);
  writer.finish();
}

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_SETTLED_INL_H_
