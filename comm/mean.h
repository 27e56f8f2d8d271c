// The mean over workers of one coded fragment, by one of two return legs (streaming-diloco card, "Return leg"):
//
//   gather: all-gather of the workers' payloads; every worker decodes all M in rank order.
//           Each worker sends (M-1) * S bytes; one rounding.
//   reduce: all-to-all of chunks, float32 sum in rank order and division by M at the chunk's owner, re-encode,
//           all-gather of the means. Each worker sends about 2 (M-1)/M * S bytes; two roundings. The owner
//           applies its own re-encoded values, as everybody else does, or replicas would fork.
//
// choose_leg states the cost rule; it depends on (workers, codec, size) only, never on link or backend.
// Either way every worker ends with the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/progress_engine.h"
#include "quant/codec/codec.h"

namespace thinwire::comm {

enum class Leg : std::uint8_t { kGather = 0, kReduce = 1 };

// "auto" applies the cost rule; "gather" and "reduce" name the leg; anything else throws std::invalid_argument.
Leg choose_leg(std::string_view setting, int workers, const quant::Codec& codec, std::size_t num_values);

// Wire bytes one worker sends for one mean: headers and payloads, once per destination.
std::uint64_t mean_wire_bytes(Leg leg, int workers, int rank, const quant::Codec& codec, std::size_t num_values);

// What a commit is: it fixes, with the payloads, the new agreed copy.
struct MeanSpec {
  std::uint64_t step = 0;      // the step at which the fragment was sent
  std::uint32_t fragment = 0;
  std::uint64_t seed = 0;      // of the run; the reduce leg draws its stochastic rounding from it
  Leg leg = Leg::kGather;
  std::uint64_t state_digest = 0;  // of the sender's agreed state when it sent; rides in the header
};

// One mean under way. Submit it to the engine; when its ticket is done, decode_mean gives the result.
class CodedMean : public Operation {
 public:
  // payload: codec.encoded_bytes(num_values) bytes of this worker's values; the object owns them from here on.
  // codec must outlive the object.
  static std::shared_ptr<CodedMean> make(const MeanSpec& spec, const quant::Codec& codec, std::size_t num_values,
                                         Buffer payload);

  virtual const MeanSpec& spec() const = 0;
  // The own payload, kept until the mean is destroyed: a checkpoint stores it and a resumed run sends it again.
  virtual std::span<const std::byte> payload() const = 0;
  // mean = (sum over workers in rank order of decode(payload_r)) / M, in float32. Only after the ticket is done;
  // any thread. mean.size() must be num_values.
  virtual void decode_mean(std::span<float> mean) const = 0;
  // state_digest of every worker, by rank, from the headers. Only after the ticket is done.
  virtual std::vector<std::uint64_t> state_digests() const = 0;
};

}  // namespace thinwire::comm
