// fp32 and bf16 in vectors; the rules are those of quant/codec/float_codec.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quant/kernel/float_kernel.cpp"
#include "hwy/foreach_target.h"
// Highway asks for the headers below after foreach_target.h.
#include "quant/codec/float_codec.h"
#include "quant/kernel/dispatch.h"
#include "quant/kernel/loops-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

BlockLoops float_loops(std::uint8_t) {
  return {};
}

#else

void decode_add_fp32(const BlockRun& run, const std::byte*, const std::byte* codes, float* sum) {
  // The code may lie at an odd address.
  const hn::Repartition<std::uint8_t, FloatTag> bytes;
  const auto* in = reinterpret_cast<const std::uint8_t*>(codes);
  for (std::size_t i = 0; i < run.num_values; i += kLanes) {
    const Floats value = hn::BitCast(kFloat, hn::LoadU(bytes, in + i * sizeof(float)));
    hn::StoreU(hn::Add(hn::LoadU(kFloat, sum + i), value), kFloat, sum + i);
  }
}

using HalfTag = hn::Rebind<std::uint16_t, FloatTag>;

void encode_bf16(const BlockRun& run, const float* values, std::byte*, std::byte* codes) {
  const auto bits_at = [&](std::size_t at) { return hn::BitCast(kUnsigned, hn::LoadU(kFloat, values + at)); };
  auto* out = reinterpret_cast<std::uint8_t*>(codes);
  for (std::size_t i = 0; i < run.num_values; i += kVectorGroup) {
    Unsigneds addend[kVectors];
    if (run.rounding == Rounding::kStochastic) {
      draw_bits<16>(run.key, run.first + i, addend);
    } else {
      for (std::size_t k = 0; k < kVectors; ++k) {
        const Unsigneds last_bit =
            hn::And(hn::ShiftRight<16>(bits_at(i + k * kLanes)), hn::Set(kUnsigned, 1));
        addend[k] = hn::Add(hn::Set(kUnsigned, 0x7fff), last_bit);
      }
    }
    for (std::size_t k = 0; k < kVectors; ++k) {
      const Unsigneds half = hn::ShiftRight<16>(hn::Add(bits_at(i + k * kLanes), addend[k]));
      // The code may lie at an odd address: through memory of its own.
      alignas(64) std::uint16_t memory[kLanes];
      hn::Store(hn::DemoteTo(HalfTag(), hn::BitCast(kInt, half)), HalfTag(), memory);
      std::memcpy(out, memory, sizeof memory);
      out += sizeof memory;
    }
  }
}

template <bool kAdd>
void decode_bf16(const BlockRun& run, const std::byte*, const std::byte* codes, float* values) {
  for (std::size_t i = 0; i < run.num_values; i += kLanes) {
    alignas(64) std::uint16_t memory[kLanes];
    std::memcpy(memory, codes + 2 * i, sizeof memory);
    const Unsigneds bits = hn::ShiftLeft<16>(hn::PromoteTo(kUnsigned, hn::Load(HalfTag(), memory)));
    Floats value = hn::BitCast(kFloat, bits);
    if constexpr (kAdd) value = hn::Add(hn::LoadU(kFloat, values + i), value);
    hn::StoreU(value, kFloat, values + i);
  }
}

BlockLoops float_loops(std::uint8_t wire_id) {
  if (wire_id == kFp32Format.wire_id) {
    BlockLoops loops = kFp32Format.reference;  // copies are as fast as they get
    loops.decode_add = &decode_add_fp32;
    return loops;
  }
  if (wire_id != kBf16Format.wire_id) return {};
  return {.encode = &encode_bf16, .decode = &decode_bf16<false>, .decode_add = &decode_bf16<true>};
}

#endif
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinwire::quant {

HWY_EXPORT(float_loops);

BlockLoops float_vector_loops(std::uint8_t wire_id, Target target) {
  return HWY_DISPATCH_TABLE(float_loops)[table_index(target)](wire_id);
}

}  // namespace thinwire::quant
#endif
