// The outer methods by name. Adding one: a file pair and a line here.
#include <fmt/format.h>

#include <stdexcept>

#include "trainer/named.h"
#include "trainer/outer/data_parallel.h"
#include "trainer/outer/eager_diloco.h"
#include "trainer/outer/method.h"
#include "trainer/outer/no_exchange.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/outer/streaming_diloco.h"
#include "trainer/registries.h"

namespace thinwire::trainer {
namespace {

using Travelling = std::vector<TrainedTensor>;
using Factory = std::unique_ptr<OuterLoop> (*)(const OuterContext&, Travelling);

std::unique_ptr<OuterLoop> make_none(const OuterContext&, Travelling travelling) {
  return std::make_unique<NoExchange>(std::move(travelling));
}

std::unique_ptr<OuterLoop> make_ddp(const OuterContext& context, Travelling travelling) {
  return std::make_unique<DataParallel>(context, std::move(travelling));
}

// DiLoCo is the streaming loop with the whole model as one fragment, no overlap and no local weight at the
// merge.
std::unique_ptr<OuterLoop> make_diloco(const OuterContext& context, Travelling travelling) {
  OuterContext whole = context;
  whole.options.overlap = 0;
  whole.options.alpha = 0;
  return std::make_unique<StreamingDiLoCo>(whole, std::move(travelling), FragmentLayout::kWhole);
}

FragmentLayout layout_of(const OuterOptions& options) {
  return options.layout == "sequential" ? FragmentLayout::kSequential : FragmentLayout::kStrided;
}

std::unique_ptr<OuterLoop> make_eager(const OuterContext& context, Travelling travelling) {
  return std::make_unique<EagerDiLoCo>(context, std::move(travelling), layout_of(context.options));
}

std::unique_ptr<OuterLoop> make_streaming(const OuterContext& context, Travelling travelling) {
  if (context.options.overlap < 0 || context.options.overlap > context.options.sync_every)
    throw std::invalid_argument(
        fmt::format("outer.overlap: expected 0 to outer.sync_every = {} (a fragment's period), found {}; a "
                    "fragment must have "
                    "arrived before it is sent again",
                    context.options.sync_every, context.options.overlap));
  return std::make_unique<StreamingDiLoCo>(context, std::move(travelling), layout_of(context.options));
}

// Buffers: the gradients of ddp; (G, V) of the streamed methods, and (E, U) of eager updates.
Rhythm no_rhythm(const OuterOptions&) {
  return {};
}
Rhythm ddp_rhythm(const OuterOptions&) {
  return {.period = 1, .flat_buffers = 1};
}
Rhythm diloco_rhythm(const OuterOptions& options) {
  return {.period = options.sync_every, .syncs_at_the_end = options.final_sync, .flat_buffers = 2};
}
Rhythm streaming_rhythm(const OuterOptions& options) {
  return {.period = options.sync_every,
          .layout = layout_of(options),
          .sends_at_last_step = options.overlap == 0,
          .syncs_at_the_end = options.final_sync,
          .flat_buffers = 2};
}
Rhythm eager_rhythm(const OuterOptions& options) {
  return {.period = options.sync_every,
          .layout = layout_of(options),
          .syncs_at_the_end = options.final_sync,
          .flat_buffers = 4};
}

// What every exchange reads of the config, every outer step besides, and every method with fragments.
std::string exchange_keys() {
  return "outer.codec outer.block outer.k outer.rotate outer.rounding outer.error_feedback outer.decay "
         "outer.leg";
}
std::string step_keys() {
  return fmt::format("{} outer.sync_every outer.lr outer.momentum outer.final_sync", exchange_keys());
}
std::string fragment_keys() {
  return fmt::format("{} outer.fragments outer.layout outer.embeddings_codec", step_keys());
}

struct Method {
  const char* name;
  Factory make;
  Rhythm (*rhythm)(const OuterOptions&);
  std::string (*keys)();       // that it reads
  bool has_fragments = false;  // of blocks, and one of the rest
};

constexpr Method kMethods[] = {
    {"none", make_none, no_rhythm, [] { return std::string(); }},
    {"ddp", make_ddp, ddp_rhythm, exchange_keys},
    {"diloco", make_diloco, diloco_rhythm, step_keys},
    {"streaming_diloco", make_streaming, streaming_rhythm,
     [] { return fmt::format("{} outer.overlap outer.alpha", fragment_keys()); }, true},
    {"eager_diloco", make_eager, eager_rhythm, fragment_keys, true},
};

}  // namespace

std::unique_ptr<OuterLoop> make_outer_loop(const OuterContext& context, Travelling travelling) {
  const Method& method = find_named(kMethods, "outer.method", context.options.method);
  if (!method.has_fragments && !context.options.embeddings_codec.empty())
    throw std::invalid_argument(
        fmt::format("outer.embeddings_codec: means nothing to outer.method = {}, which has no fragment of "
                    "embeddings; leave it out",
                    method.name));
  return method.make(context, std::move(travelling));
}

Rhythm rhythm_of(const OuterOptions& options) {
  return find_named(kMethods, "outer.method", options.method).rhythm(options);
}

std::vector<EntryKeys> method_keys() {
  std::vector<EntryKeys> all;
  for (const Method& method : kMethods) all.push_back({method.name, words_of(method.keys())});
  return all;
}

std::vector<std::string> outer_methods() {
  return names_of(kMethods);
}

}  // namespace thinwire::trainer
