#include "comm/mean.h"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "comm/collectives/chunks.h"
#include "comm/collectives/fragment_mean.h"
#include "quant/codec/topk_codec.h"

namespace thinwire::comm {

Leg choose_leg(std::string_view setting, int workers, const quant::Codec& codec, std::size_t num_values) {
  if (setting == "gather") return Leg::kGather;
  if (setting == "reduce") return Leg::kReduce;
  if (setting != "auto") {
    throw std::invalid_argument(
        fmt::format("outer.leg: expected auto, gather or reduce, got \"{}\"", setting));
  }
  if (quant::is_sparse(codec)) return Leg::kGather;
  // Rank 0 owns the smallest chunk; any one rank will do, as long as all ask for the same.
  const std::uint64_t gather = mean_wire_bytes(Leg::kGather, workers, 0, codec, num_values);
  const std::uint64_t reduce = mean_wire_bytes(Leg::kReduce, workers, 0, codec, num_values);
  const std::uint64_t price = codec.name() == "fp32" ? 1 : 2;
  return price * reduce < gather ? Leg::kReduce : Leg::kGather;
}

std::uint64_t mean_wire_bytes(Leg leg, int workers, int rank, const quant::Codec& codec,
                              std::size_t num_values) {
  const auto frame_bytes = [&](std::size_t n) { return quant::kWireHeaderBytes + codec.encoded_bytes(n); };
  const auto peers = static_cast<std::uint64_t>(workers - 1);
  if (leg == Leg::kGather) return peers * frame_bytes(num_values);
  std::uint64_t bytes = 0;
  for (int r = 0; r < workers; ++r) {
    const std::size_t n = chunk_of(r, workers, num_values, codec.block()).num_values;
    bytes += r == rank ? peers * frame_bytes(n) : frame_bytes(n);
  }
  return bytes;
}

std::shared_ptr<CodedMean> CodedMean::make(const MeanSpec& spec, std::shared_ptr<const quant::Codec> codec,
                                           std::size_t num_values, const Buffer& payload) {
  const auto make = spec.leg == Leg::kGather ? make_gather_mean : make_reduce_mean;
  return make(spec, std::move(codec), num_values, payload);
}

}  // namespace thinwire::comm
