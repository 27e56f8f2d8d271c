#include "trainer/outer/outer_loop.h"

#include <utility>

#include "quant/codec/codec.h"

namespace thinwire::trainer {

std::vector<CommitRecord> OuterLoop::take_commits() {
  return std::exchange(commits_, {});
}

std::unique_ptr<quant::Codec> make_wire_codec(const OuterOptions& options) {
  return quant::make_codec({.name = options.codec,
                            .block = static_cast<std::size_t>(options.block),
                            .rounding = options.rounding == "stochastic" ? quant::Rounding::kStochastic
                                                                         : quant::Rounding::kNearest,
                            .k = static_cast<std::size_t>(options.k),
                            .rotate = options.rotate});
}

std::unique_ptr<quant::Codec> make_embeddings_codec(const OuterOptions& options) {
  OuterOptions own = options;
  if (!options.embeddings_codec.empty()) own.codec = options.embeddings_codec;
  return make_wire_codec(own);
}

}  // namespace thinwire::trainer
