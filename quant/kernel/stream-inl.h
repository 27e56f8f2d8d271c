// Memory beyond the caches: what a kernel reads is asked for ahead of time, what it writes goes past the
// caches.
#if defined(THINWIRE_KERNEL_STREAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINWIRE_KERNEL_STREAM_INL_H_
#undef THINWIRE_KERNEL_STREAM_INL_H_
#else
#define THINWIRE_KERNEL_STREAM_INL_H_
#endif

#include "hwy/cache_control.h"
#include "quant/kernel/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinwire::quant::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

constexpr std::size_t kCacheLine = 64;

// Asks for the cache line that lies 8 KiB after this one, past the blocks whose scales are computed ahead.
// Called throughout, so that memory is never idle; the processor's own prefetch stops at the borders of
// pages. Past the end of the values it does nothing.
HWY_INLINE void prefetch_line(const float* values) {
  constexpr std::size_t kAhead = 2048;
  __builtin_prefetch(values + kAhead, 0, 3);
}

constexpr std::size_t kLineValues = kCacheLine / sizeof(float);

// The lines at [i, i + kVectorGroup) that are asked for with the codes: all, or every other one if the sums
// of a scale take the rest of the time and ask for the others.
template <bool kWithSums, class Beside>
HWY_INLINE void ask_with_codes(const float* values, Beside& beside) {
  if constexpr (!kWithSums) beside.ask_for(values);
  beside.ask_for(values + kLineValues);
}

// The others, by a first or a second pass over a block; the first does all if it is the only one.
HWY_INLINE void prefetch_with_sums(const float* values, std::size_t i, int pass, bool two_passes) {
  const std::size_t place = i / kLineValues % 4;
  if (place == (pass == 0 ? 0u : 2u) || (!two_passes && place == 2)) prefetch_line(values + i);
}

// Writes a sequence of chunks. A large one goes to memory in whole cache lines by non-temporal stores, which
// spares the reading of each line before it is overwritten; a small one is likely to be read again soon, and
// goes the usual way.
class CodeWriter {
 public:
  // total: of all chunks, each of at most kMaxVectorBlock bytes.
  HWY_INLINE CodeWriter(std::byte* out, std::size_t total) : out_(out), streams_(total >= kLeastStreamed) {
    if (!streams_) return;
    lead_ = reinterpret_cast<std::uintptr_t>(out) % kCacheLine;
    out_ -= lead_;
    filled_ = lead_;
  }

  // Where to write the next chunk; then end_chunk(its bytes).
  HWY_INLINE std::byte* chunk() { return streams_ ? staged_ + filled_ : out_; }

  HWY_INLINE void end_chunk(std::size_t bytes) {
    if (!streams_) {
      out_ += bytes;
      return;
    }
    filled_ += bytes;
    const std::size_t whole = filled_ / kCacheLine * kCacheLine;
    if (whole == 0) return;
    std::size_t begin = 0;
    if (lead_ > 0) {  // the bytes before `out` are not ours
      std::memcpy(out_ + lead_, staged_ + lead_, kCacheLine - lead_);
      lead_ = 0;
      begin = kCacheLine;
    }
    const hn::ScalableTag<std::uint8_t> d;
    const auto* from = reinterpret_cast<const std::uint8_t*>(staged_);
    auto* to = reinterpret_cast<std::uint8_t*>(out_);
    for (std::size_t i = begin; i < whole; i += hn::Lanes(d)) hn::Stream(hn::Load(d, from + i), d, to + i);
    out_ += whole;
    filled_ -= whole;
    std::memcpy(staged_, staged_ + whole, kCacheLine);
  }

  // After the last chunk.
  HWY_INLINE void finish() {
    if (!streams_) return;
    std::memcpy(out_ + lead_, staged_ + lead_, filled_ - lead_);
    hwy::FlushStream();
  }

 private:
  static constexpr std::size_t kLeastStreamed = std::size_t{1} << 20;

  alignas(kCacheLine) std::byte staged_[kMaxVectorBlock + 2 * kCacheLine];
  std::byte* out_;  // staged_ belongs here
  const bool streams_;
  std::size_t lead_ = 0;    // bytes at the front of staged_ that are not to be written
  std::size_t filled_ = 0;  // bytes of staged_, with lead_
};

#endif  // HWY_TARGET != HWY_SCALAR
}  // namespace thinwire::quant::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINWIRE_KERNEL_STREAM_INL_H_
