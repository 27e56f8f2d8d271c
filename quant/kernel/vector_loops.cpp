#include "quant/kernel/vector_loops.h"

#include <array>

namespace thinwire::quant {

BlockLoops vector_loops(const Format& format, Target target, std::size_t block) {
  if (target == Target::kScalar || !is_vector_block(block)) return {};
  constexpr std::array kFamilies = {&int_vector_loops, &minifloat_vector_loops, &nf4_vector_loops,
                                    &float_vector_loops};
  for (const auto family : kFamilies) {
    BlockLoops loops = family(format.wire_id, target);
    if (loops.encode == nullptr) continue;
    if (block != kUsualBlock) loops.encode_delta = nullptr;
    return loops;
  }
  return {};
}

}  // namespace thinwire::quant
