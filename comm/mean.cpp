#include "comm/mean.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "comm/collectives/chunks.h"
#include "comm/collectives/fragment_mean.h"
#include "comm/collectives/part_encoder.h"
#include "comm/collectives/segments.h"
#include "quant/codec/topk_codec.h"

namespace thinwire::comm {

namespace {

// What rank `rank` sends; message_bytes(n) is the size of n values from one worker to another.
template <class MessageBytes>
std::uint64_t bytes_of(Leg leg, int workers, int rank, const quant::Codec& codec, std::size_t num_values,
                       const MessageBytes& message_bytes) {
  const auto peers = static_cast<std::uint64_t>(workers - 1);
  if (leg == Leg::kGather) return peers * message_bytes(num_values);
  std::uint64_t bytes = 0;
  for (int r = 0; r < workers; ++r) {
    const std::size_t n = chunk_of(r, workers, num_values, codec.block()).num_values;
    bytes += r == rank ? peers * message_bytes(n) : message_bytes(n);
  }
  return bytes;
}

std::shared_ptr<CodedMean> make_mean(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                     std::size_t num_values, MeanParts parts) {
  const auto make = spec.leg == Leg::kGather ? make_gather_mean : make_reduce_mean;
  return make(spec, std::move(codec), num_values, std::move(parts));
}

}  // namespace

Leg choose_leg(std::string_view setting, int workers, const quant::Codec& codec, std::size_t num_values) {
  if (setting == "gather") return Leg::kGather;
  if (setting == "reduce") return Leg::kReduce;
  if (setting != "auto") {
    throw std::invalid_argument(
        fmt::format("outer.leg: expected auto, gather or reduce, got \"{}\"", setting));
  }
  if (quant::is_sparse(codec)) return Leg::kGather;
  // As if nothing were cut into segments: their headers are no reason for either leg. Rank 0 owns the
  // smallest chunk; any one rank will do, as long as all ask for the same.
  const auto frame_bytes = [&](std::size_t n) -> std::uint64_t {
    return quant::kWireHeaderBytes + codec.encoded_bytes(n);
  };
  const std::uint64_t gather = bytes_of(Leg::kGather, workers, 0, codec, num_values, frame_bytes);
  const std::uint64_t reduce = bytes_of(Leg::kReduce, workers, 0, codec, num_values, frame_bytes);
  const std::uint64_t price = codec.name() == "fp32" ? 1 : 2;
  return price * reduce < gather ? Leg::kReduce : Leg::kGather;
}

std::uint64_t mean_wire_bytes(Leg leg, int workers, int rank, const quant::Codec& codec,
                              std::size_t num_values) {
  return bytes_of(leg, workers, rank, codec, num_values, [&](std::size_t n) -> std::uint64_t {
    const Segments segments(codec, n);
    const std::size_t last = segments.count() - 1;  // all others are alike
    return segments.count() * quant::kWireHeaderBytes + last * codec.encoded_bytes(segments[0].count) +
           codec.encoded_bytes(segments[last].count);
  });
}

EncodePart encode_values(std::shared_ptr<const quant::Codec> codec, std::span<const float> values,
                         std::uint64_t key) {
  return [encoder = PartEncoder(std::move(codec), values.size(), key), values](
             const quant::Range& range, std::span<std::byte> part) mutable {
    encoder.encode(range, values.subspan(range.first, range.count), part);
  };
}

std::shared_ptr<CodedMean> CodedMean::make(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                           std::size_t num_values, Buffer payload) {
  return make_mean(spec, std::move(codec), num_values, {.payload = std::move(payload)});
}

std::shared_ptr<CodedMean> CodedMean::make(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                           std::span<float> mean, EncodePart encode) {
  if (!encode) throw std::invalid_argument("[mean] nothing says how the values are encoded");
  return make_mean(spec, std::move(codec), mean.size(), {.encode = std::move(encode), .mean = mean});
}

}  // namespace thinwire::comm
