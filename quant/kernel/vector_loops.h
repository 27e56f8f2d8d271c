// The vector forms of the formats' loops, for whole blocks of a multiple of 32 values. They write the bytes
// and floats of the reference (quant/codec/reference_loops.h), on every target.
#pragma once

#include "quant/codec/format.h"
#include "quant/kernel/target.h"

namespace thinwire::quant {

// Blocks that the vector loops take; others are left to the reference.
inline constexpr std::size_t kVectorGroup = 32;
inline constexpr std::size_t kMaxVectorBlock = 4096;
// The block that nearly all runs have; its loops are compiled apart, with known bounds.
inline constexpr std::size_t kUsualBlock = 256;
constexpr bool is_vector_block(std::size_t block) {
  return block % kVectorGroup == 0 && block <= kMaxVectorBlock;
}

// Null members where only the reference exists: for kScalar, and for other blocks than the vector loops take.
// encode_delta: of kUsualBlock only.
BlockLoops vector_loops(const Format& format, Target target, std::size_t block);

// By family, each in its own source. wire_id: one of the family's, or the members are null.
BlockLoops int_vector_loops(std::uint8_t wire_id, Target target);
BlockLoops minifloat_vector_loops(std::uint8_t wire_id, Target target);
BlockLoops nf4_vector_loops(std::uint8_t wire_id, Target target);
BlockLoops float_vector_loops(std::uint8_t wire_id, Target target);

}  // namespace thinwire::quant
