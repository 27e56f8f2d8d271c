#include "launch/config/constraints.h"

#include <fmt/format.h>

#include <bit>
#include <functional>
#include <vector>

#include "launch/config/config.h"
#include "quant/codec/rotated_codec.h"

namespace thinwire::launch {
namespace {

using trainer::Options;

struct Constraint {
  std::vector<std::string> keys;
  std::function<std::string(const Options&)> problem;  // empty: satisfied
};

std::string unless(bool holds, std::string problem) {
  return holds ? std::string() : std::move(problem);
}

// The sizes in [model] count only where no model is loaded.
bool sizes_count(const Options& o) {
  return o.model.from.empty();
}

// Stochastic rounding errs by up to one spacing of the levels: the largest error by the block's largest
// value.
double worst_error(const std::string& codec) {
  return codec == "sign" ? 2 : codec == "ternary" ? 1 : 0;
}

// A residual is bounded only if an error is smaller than what was coded. The codec where it is not, or empty.
std::string codec_of_growing_residual(const trainer::OuterOptions& outer) {
  if (!outer.error_feedback || outer.rounding != "stochastic") return {};
  for (const std::string& codec : {outer.codec, outer.embeddings_codec})
    if (outer.decay * worst_error(codec) >= 1) return codec;
  return {};
}

// Whether a fragment goes by the codec.
bool sends(const Options& o, const std::string& codec) {
  return o.outer.codec == codec || o.outer.embeddings_codec == codec;
}

// Methods with fragments of blocks, and one of embeddings, head and final norm.
bool has_fragments(const Options& o) {
  return o.outer.method == "streaming_diloco" || o.outer.method == "eager_diloco";
}

std::vector<Constraint> make_constraints() {
  return {
      {{"run.dir"},
       [](const Options& o) {
         return unless(!o.run.dir.empty(), "run.dir: needed, the folder that the run fills");
       }},
      {{"data.path"},
       [](const Options& o) {
         return unless(!o.data.path.empty(), "data.path: needed, text files or folders to train on");
       }},
      {{"model.heads", "model.width"},
       [](const Options& o) {
         return unless(
             !sizes_count(o) || o.model.width % (2 * o.model.heads) == 0,
             fmt::format("model.heads: expected heads of an even size, found width {} over {} heads",
                         o.model.width, o.model.heads));
       }},
      {{"model.kv_heads", "model.heads"},
       [](const Options& o) {
         return unless(!sizes_count(o) || o.model.kv_heads == 0 || o.model.heads % o.model.kv_heads == 0,
                       fmt::format("model.kv_heads: expected a divisor of model.heads = {}, found {}",
                                   o.model.heads, o.model.kv_heads));
       }},
      {{"data.sequence", "model.context"},
       [](const Options& o) {
         return unless(!sizes_count(o) || o.data.sequence <= o.model.context,
                       fmt::format("data.sequence: expected at most model.context = {}, found {}",
                                   o.model.context, o.data.sequence));
       }},
      {{"task.teacher", "task.kind"},
       [](const Options& o) {
         return unless(o.task.kind != "distill" || !o.task.teacher.empty(),
                       "task.teacher: needed for task distill, a run or checkpoint");
       }},
      {{"distill.logits", "distill.hidden", "distill.labels"},
       [](const Options& o) {
         return unless(
             o.distill.logits + o.distill.hidden + o.distill.labels > 0,
             "distill.logits, distill.hidden, distill.labels: expected at least one above 0, found all 0");
       }},
      {{"quant.rule", "task.kind"},
       [](const Options& o) {
         return unless(o.task.kind != "qat" || !o.quant.rule.empty(),
                       "quant.rule: needed for task qat, at least one [[quant.rule]]");
       }},
      {{"inner.accumulate", "inner.batch"},
       [](const Options& o) {
         return unless(o.inner.batch % o.inner.accumulate == 0,
                       fmt::format("inner.accumulate: expected a divisor of inner.batch = {}, found {}",
                                   o.inner.batch, o.inner.accumulate));
       }},
      {{"outer.error_feedback", "outer.rounding", "outer.codec", "outer.embeddings_codec"},
       [](const Options& o) {
         const std::string codec = codec_of_growing_residual(o.outer);
         return unless(
             codec.empty(),
             fmt::format("outer.error_feedback: with stochastic {} each residual would be larger than "
                         "the last; expected outer.rounding = \"nearest\", no error feedback, or "
                         "outer.decay below {}",
                         codec, 1 / worst_error(codec)));
       }},
      {{"outer.embeddings_codec", "outer.method"},
       [](const Options& o) {
         return unless(has_fragments(o) || o.outer.embeddings_codec.empty(),
                       fmt::format("outer.embeddings_codec: means nothing to outer.method = {}, which has no "
                                   "fragment of embeddings; leave it out",
                                   o.outer.method));
       }},
      {{"outer.rotate", "outer.block"},
       [](const Options& o) {
         const auto block = static_cast<std::uint64_t>(o.outer.block);
         return unless(
             !o.outer.rotate || (std::has_single_bit(block) && block <= quant::kMaxRotatedBlock),
             fmt::format("outer.rotate: expected outer.block to be a power of two, at most {}, found {}",
                         quant::kMaxRotatedBlock, block));
       }},
      {{"outer.rotate", "outer.codec", "outer.embeddings_codec"},
       [](const Options& o) {
         return unless(!o.outer.rotate || !sends(o, "topk"),
                       "outer.rotate: a rotation spreads the few large values that topk keeps over all; "
                       "expected false, or another outer.codec");
       }},
      {{"outer.leg", "outer.codec", "outer.embeddings_codec"},
       [](const Options& o) {
         return unless(o.outer.leg != "reduce" || !sends(o, "topk"),
                       "outer.leg: reduce would code the mean once more, and topk drop most of it; expected "
                       "gather or auto");
       }},
      {{"outer.overlap", "outer.sync_every"},
       [](const Options& o) {
         return unless(
             o.outer.method != "streaming_diloco" || o.outer.overlap <= o.outer.sync_every,
             fmt::format("outer.overlap: expected at most a fragment's period, outer.sync_every = {} steps, "
                         "found {}",
                         o.outer.sync_every, o.outer.overlap));
       }},
      {{"outer.fragments", "model.layers"},
       [](const Options& o) {
         return unless(!has_fragments(o) || !sizes_count(o) || o.outer.fragments <= o.model.layers,
                       fmt::format("outer.fragments: expected at most model.layers = {}, found {}",
                                   o.model.layers, o.outer.fragments));
       }},
  };
}

}  // namespace

void check_constraints(const Options& options, const std::string& config_name, const KeyPlaces& places) {
  static const std::vector<Constraint> constraints = make_constraints();
  for (const Constraint& constraint : constraints) {
    const std::string problem = constraint.problem(options);
    if (problem.empty()) continue;
    std::string place = config_name;
    for (auto key = constraint.keys.rbegin(); key != constraint.keys.rend(); ++key) {
      if (const auto found = places.find(*key); found != places.end()) place = found->second;
    }
    throw ConfigError(place + ": " + problem);
  }
}

}  // namespace thinwire::launch
