// What a team, or a thread, does with one block, group or value of a payload: the bodies of the CUDA kernels.
// They write the bytes of the reference (quant/codec/reference_loops.h) and the floats of
// quant/kernel/outer_ops.h. Host code compiles them too, so that tests without a GPU compare them with the
// reference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "quant/codec/codec.h"
#include "quant/codec/host_device.h"
#include "quant/codec/stochastic.h"
#include "quant/kernel/cuda/team_block.h"
#include "quant/kernel/outer_ops.h"

namespace thinwire::quant::cuda {

// Blocks are whole groups, but the payload's last: codes of a group fill whole bytes.
inline constexpr std::size_t kGroup = 8;

// Where what lies in a payload of n values in blocks of B.
struct Layout {
  std::size_t num_values;
  std::size_t block;

  THINWIRE_HOST_DEVICE std::size_t num_blocks() const { return (num_values + block - 1) / block; }
  THINWIRE_HOST_DEVICE std::size_t size_of(std::size_t b) const {
    return num_values - b * block < block ? num_values - b * block : block;
  }
  template <class Packing>
  THINWIRE_HOST_DEVICE std::size_t codes_of(std::size_t b) const {
    return sizeof(float) * num_blocks() + b * (block * Packing::kCodeBits / 8);
  }
};

// Sources of values, by offset in the fragment.

struct Values {
  const float* values;
  THINWIRE_HOST_DEVICE float operator()(std::size_t i) const { return values[i]; }
};

// delta = agreed - local, and what error feedback adds: outer_delta and ErrorFeedback::encode in one.
struct Delta {
  const float* agreed;
  const float* local;
  const float* residual;  // null: no error feedback
  float decay;
  THINWIRE_HOST_DEVICE float operator()(std::size_t i) const {
    const float delta = agreed[i] - local[i];
    return residual == nullptr ? delta : delta + decay * residual[i];
  }
};

// What becomes of a value besides its code; decoded is what receivers will see.

struct KeepNothing {
  THINWIRE_HOST_DEVICE void operator()(std::size_t, float, float) const {}
};

struct KeepResidual {
  float* residual;  // null: kept nowhere
  THINWIRE_HOST_DEVICE void operator()(std::size_t i, float value, float decoded) const {
    if (residual != nullptr) residual[i] = value - decoded;
  }
};

struct EncodeStream {
  Rounding rounding;
  std::uint64_t key;
};

template <class Rule>
THINWIRE_HOST_DEVICE unsigned code_of(float value, float scale, std::size_t offset, EncodeStream stream) {
  if (!(scale > 0)) return Rule::zero_code();
  return stream.rounding == Rounding::kNearest ? Rule::nearest(value / scale)
                                               : stochastic_code<Rule>(value, scale, stream.key, offset);
}

// Bytes [0, num_bytes) of the word, lowest first; those of a whole group at once.
template <unsigned kCodeBits>
THINWIRE_HOST_DEVICE void store_group(std::byte* codes, std::uint64_t word, std::size_t num_bytes) {
  if (num_bytes == kCodeBits) {  // 8 codes; a payload lies on a multiple of 4 bytes, hence so do its codes
    constexpr unsigned kStep = kCodeBits < 4 ? kCodeBits : 4;
    for (unsigned at = 0; at < kCodeBits; at += kStep) {
      const std::uint64_t step = word >> (8 * at);
      std::memcpy(__builtin_assume_aligned(codes + at, kStep), &step, kStep);
    }
    return;
  }
  for (std::size_t at = 0; at < num_bytes; ++at) codes[at] = static_cast<std::byte>(word >> (8 * at));
}

// Encodes block b. code: the whole payload, on a multiple of 4 bytes. Returns whether this lane met a NaN,
// whose codes are unspecified.
template <class Rule, class Team, class Source, class Keep>
THINWIRE_HOST_DEVICE bool encode_block(const Team& team, const Layout& layout, std::size_t b, Source source,
                                       EncodeStream stream, std::byte* code, Keep keep) {
  using Packing = typename Rule::Packing;
  const std::size_t first = b * layout.block;
  const std::size_t num_values = layout.size_of(b);
  const auto value = [=](std::size_t i) { return source(first + i); };
  const float scale = Rule::scale(TeamBlock<Team, decltype(value)>{team, value, num_values}, stream.rounding);
  std::byte* codes = code + layout.codes_of<Packing>(b);
  bool met_nan = false;
  team.each((num_values + kGroup - 1) / kGroup, [&](std::size_t group) {
    if (group == 0)
      std::memcpy(__builtin_assume_aligned(code + sizeof scale * b, sizeof scale), &scale, sizeof scale);
    const std::size_t begin = group * kGroup;
    const std::size_t count = num_values - begin < kGroup ? num_values - begin : kGroup;
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t offset = first + begin + i;
      const float x = source(offset);
      met_nan |= x != x;
      const unsigned c = code_of<Rule>(x, scale, offset, stream);
      word |= static_cast<std::uint64_t>(c) << (i * Packing::kCodeBits);
      keep(offset, x, Rule::level(c) * scale);
    }
    store_group<Packing::kCodeBits>(codes + begin * Packing::kCodeBits / 8, word, Packing::bytes(count));
  });
  return met_nan;
}

// Value i of a payload.
template <class Rule>
THINWIRE_HOST_DEVICE float decoded(const Layout& layout, const std::byte* code, std::size_t i) {
  using Packing = typename Rule::Packing;
  const std::size_t b = i / layout.block;
  float scale;
  std::memcpy(&scale, __builtin_assume_aligned(code + sizeof scale * b, sizeof scale), sizeof scale);
  const unsigned c = Packing::get(code + layout.codes_of<Packing>(b), layout.size_of(b), i % layout.block);
  return Rule::level(c) * scale;
}

// One value of nesterov_step and merge_into_local.
struct OuterValue {
  float momentum;
  float agreed;
  float local;
};
THINWIRE_HOST_DEVICE inline OuterValue outer_step(const NesterovRule& rule, float alpha, float gradient,
                                                  OuterValue old) {
  OuterValue next;
  next.momentum = rule.momentum * old.momentum + gradient;
  next.agreed = old.agreed - rule.lr * (gradient + rule.momentum * next.momentum);
  next.local = alpha == 0.0f ? next.agreed : alpha * old.local + (1.0f - alpha) * next.agreed;
  return next;
}

// The spans of a commit, of one length.
struct OuterSpans {
  float* momentum;
  float* agreed;
  float* local;
};

// Value i of a commit: the mean of the payloads in their order, by one division, and the step on it.
// Payloads: an indexable of const std::byte*.
template <class Rule, class Payloads>
THINWIRE_HOST_DEVICE void commit_value(const Layout& layout, const Payloads& payloads, unsigned num_payloads,
                                       const NesterovRule& rule, float alpha, const OuterSpans& spans,
                                       std::size_t i) {
  float sum = decoded<Rule>(layout, payloads[0], i);
  for (unsigned r = 1; r < num_payloads; ++r) sum += decoded<Rule>(layout, payloads[r], i);
  const OuterValue next = outer_step(rule, alpha, sum / static_cast<float>(num_payloads),
                                     {spans.momentum[i], spans.agreed[i], spans.local[i]});
  spans.momentum[i] = next.momentum;
  spans.agreed[i] = next.agreed;
  spans.local[i] = next.local;
}

}  // namespace thinwire::quant::cuda
