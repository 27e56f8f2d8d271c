// The mean over workers of one coded fragment, by one of two return legs (comm/README.md, "The return
// legs"). M workers, S bytes of payload, h = 64 bytes of header; files in comm/collectives/:
//
//   gather: all-gather of the workers' payloads; every worker decodes all M in rank order.
//           Each worker sends (M-1) * (S + h) bytes; one rounding.
//   reduce: all-to-all of chunks; float32 sum in rank order and division by M at the chunk's owner; the mean
//           is coded again; all-gather of the means. Each worker sends about 2 (M-1)/M * S + 2 (M-1) h bytes;
//           two roundings. The owner applies its mean as everybody decodes it, or replicas would fork.
//
// What one worker sends another travels in segments of up to 256 KiB (comm/collectives/segments.h), each with
// a header of its own, a few at a time: coding, sending and decoding overlap, fragments share the link, and
// control messages wait for a segment at most. The bits are those of one piece.
//
// Either way every worker ends with the same bits. The payload's values must not sum to NaN (an infinity of
// each sign does): the reduce leg's codes of a NaN are unspecified, though the same everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/progress_engine.h"
#include "quant/codec/codec.h"

namespace thinwire::comm {

enum class Leg : std::uint8_t { kGather = 0, kReduce = 1 };

// "auto" applies the cost rule; "gather" and "reduce" name the leg; anything else throws
// std::invalid_argument. The rule: reduce if it sends less than half of what gather sends, for its second
// rounding and second trip are worth no less; with a codec that does not round (fp32) if it sends less at
// all. That is M >= 5, and M >= 3 for fp32, for any but tiny fragments. A sparse codec (topk) always gathers:
// the mean holds up to M times the values of a payload, and coding it once more would drop all but one
// payload's share, with nobody to keep the residual. Depends on (workers, codec, size) only, never on link or
// backend.
Leg choose_leg(std::string_view setting, int workers, const quant::Codec& codec, std::size_t num_values);

// Exact wire bytes that one worker sends for one mean: headers and payloads of all segments, once per
// destination.
std::uint64_t mean_wire_bytes(Leg leg, int workers, int rank, const quant::Codec& codec,
                              std::size_t num_values);

// What a commit is: it fixes, with the payloads, the new agreed copy.
struct MeanSpec {
  std::uint64_t step = 0;  // the step at which the fragment was sent
  std::uint32_t fragment = 0;
  std::uint64_t seed = 0;  // of the run; the reduce leg draws its stochastic rounding from it
  Leg leg = Leg::kGather;
  std::uint64_t state_digest = 0;  // of the sender's agreed state when it sent; rides in the header
};

// Writes the part of this worker's payload that holds a range's values: what Codec::slice would cut out.
using EncodePart = std::function<void(const quant::Range& range, std::span<std::byte> part)>;
// Codes `values`, which must stay as they are until coded. key as for Codec::encode.
EncodePart encode_values(std::shared_ptr<const quant::Codec> codec, std::span<const float> values,
                         std::uint64_t key);

// One mean under way. Submit it to the engine; the result is there once its ticket is done.
class CodedMean : public Operation {
 public:
  // Of what was coded before; may be decoded long after it has arrived.
  // payload: codec.encoded_bytes(num_values) bytes of this worker's values (std::invalid_argument otherwise).
  // Memory until it is destroyed: the payload S, and (M-1) (S + h) gathered or S + h reduced; in flight, 8
  // more segments a leg from each worker.
  static std::shared_ptr<CodedMean> make(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                         std::size_t num_values, Buffer payload);

  // For a caller who waits: codes and decodes on the engine's thread, a segment while others travel, straight
  // into `mean`. encode is called once for every range, and a range of the mean is written after it was
  // encoded, so that the mean may stand where the values stood. Both must stay until the ticket is done.
  // Memory: 8 segments a leg from each worker (and S if the codec rounds stochastically). payload() is empty.
  static std::shared_ptr<CodedMean> make(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                         std::span<float> mean, EncodePart encode);

  virtual const MeanSpec& spec() const = 0;
  // The own payload, kept until the mean is destroyed: a checkpoint stores it and a resumed run sends it
  // again.
  virtual std::span<const std::byte> payload() const = 0;
  // mean = (sum over workers in rank order of decode(payload_r)) / M, in float32. Only after the ticket is
  // done; any thread. mean.size() must be num_values.
  virtual void decode_mean(std::span<float> mean) const = 0;
  // The same undecoded, for a caller who does more with a value while it is at hand: the mean of a range is
  // the sum of its payloads, in their order, over their number. Parts make up all values. Only of a mean that
  // was made from a payload.
  struct Part {
    quant::Range range;
    std::span<const quant::CodedValues> payloads;
  };
  virtual void for_each_part(const std::function<void(const Part& part)>& take) const = 0;
  // state_digest of every worker, by rank, from the headers. Only after the ticket is done.
  virtual std::vector<std::uint64_t> state_digests() const = 0;
  // Bytes handed over for sending, by exchange (gather; chunks, means); equal to mean_wire_bytes in sum. Only
  // after the ticket is done.
  virtual std::vector<std::uint64_t> sent_bytes() const = 0;
};

}  // namespace thinwire::comm
