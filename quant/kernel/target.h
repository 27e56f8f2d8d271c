// Which instruction set the kernels of quant/kernel run on. All give the same bits; targets differ in speed
// only.
//
// The environment variable THINWIRE_SIMD (scalar, sse4, avx2, avx512, avx512_vbmi, neon) forces one for the
// process: tests and benches. It is read once, at the first use.
//
//   ForcedTarget guard(Target::kAvx2);          // this thread, until the guard dies
//   auto codec = make_codec({.name = "int4"});  // keeps AVX2 for its life, whichever thread uses it
#pragma once

#include <string_view>
#include <vector>

namespace thinwire::quant {

// kAvx512Vbmi: what Ice Lake and Zen 4 added to AVX-512, of which the byte permutations matter here.
enum class Target { kScalar, kSse4, kAvx2, kAvx512, kAvx512Vbmi, kNeon };

// The targets that this build holds kernels for, scalar (the reference) first.
std::vector<Target> compiled_targets();
// Whether this build and this processor have it.
bool is_supported(Target target);

std::string_view target_name(Target target);
// Throws std::invalid_argument that lists the names this processor can run, also if it cannot run `name`.
Target parse_target(std::string_view name);

// The target of this thread: that of the innermost ForcedTarget, else of THINWIRE_SIMD (throws as
// parse_target), else the best supported.
Target active_target();

// Workers that are threads of one process may each run on another target, hence the one thread-local of this
// library. Throws std::invalid_argument if target is not supported.
class ForcedTarget {
 public:
  explicit ForcedTarget(Target target);
  ~ForcedTarget();
  ForcedTarget(const ForcedTarget&) = delete;
  ForcedTarget& operator=(const ForcedTarget&) = delete;

 private:
  int previous_;
};

}  // namespace thinwire::quant
