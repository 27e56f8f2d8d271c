#include "launch/config/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <regex>

#include "comm/backend/backend.h"
#include "comm/link.h"
#include "launch/config/nearest.h"
#include "quant/codec/codec.h"
#include "quant/codec/topk_codec.h"
#include "trainer/registries.h"

namespace thinwire::launch {
namespace {

using namespace trainer;
using std::int64_t;

Check<std::string> regular_expression() {
  return parsed_by("a regular expression", [](const std::string& text) { std::regex{text}; });
}

Check<std::string> link_text() {
  return parsed_by("a link such as 20mbit/40ms", [](const std::string& text) { comm::parse_link(text); });
}

Check<int64_t> block_size() {
  return accept_if<int64_t>("a positive multiple of 8",
                            [](const int64_t& block) { return block > 0 && block % 8 == 0; });
}

Check<int64_t> kept_values() {
  return accept_if<int64_t>(
      "1 to 4096", [](const int64_t& k) { return k >= 1 && k <= static_cast<int64_t>(quant::kTopkChunk); });
}

// Those that keep every value.
std::vector<std::string> storage_codecs() {
  std::vector<std::string> names = quant::codec_names();
  std::erase_if(names, [](const std::string& name) { return is_sparse(*quant::make_codec({.name = name})); });
  return names;
}

Check<std::vector<double>> two_decay_rates() {
  return accept_if<std::vector<double>>(
      "two numbers of 0 or more, below 1", [](const std::vector<double>& betas) {
        return betas.size() == 2 && betas[0] >= 0 && betas[0] < 1 && betas[1] >= 0 && betas[1] < 1;
      });
}

Check<std::string> codec_or_empty() {
  Check<std::string> check = one_of(quant::codec_names());
  check.words = "empty or " + check.words;
  check.problem = [named = std::move(check.problem)](const std::string& name) {
    return name.empty() ? std::string() : named(name);
  };
  return check;
}

Check<std::vector<std::string>> no_empty_path() {
  return {"", [](const std::vector<std::string>& paths) -> std::string {
            const bool any = std::find(paths.begin(), paths.end(), "") != paths.end();
            return any ? "expected paths, one of them is empty" : "";
          }};
}

template <class Struct>
Section section(const char* name, const char* doc, Struct Options::*member, const Fields<Struct>& fields) {
  Section result{name, doc, {}};
  for (const Field<Struct>& field : fields.all()) {
    Key key{field.name, field.type, field.doc, field.accepts, field.bare, {}, {}, {}};
    if (field.each_path) {
      key.each_path = [member, each = field.each_path](Options& options, const PathChange& change) {
        each(options.*member, change);
      };
    }
    key.read = [member, read = field.read](Options& options, const toml::node& node,
                                           const std::string& full_name) {
      read(options.*member, node, full_name);
    };
    key.write = [member, write = field.write](const Options& options) { return write(options.*member); };
    result.keys.push_back(std::move(key));
  }
  return result;
}

Fields<RunOptions> run_fields() {
  return Fields<RunOptions>()
      .key("dir", &RunOptions::dir, "the run's folder")
      .key("seed", &RunOptions::seed, "start of every random stream")
      .key("threads", &RunOptions::threads, "compute threads per worker", at_least<int>(1));
}

Fields<ModelOptions> model_fields() {
  using M = ModelOptions;
  return Fields<M>()
      .key("arch", &M::arch, "the architecture", one_of(model_archs()))
      .key("from", &M::from, "a run or checkpoint of ours to start from; its sizes then apply")
      .is_path(&M::from)
      .key("layers", &M::layers, "blocks", at_least<int64_t>(1))
      .key("width", &M::width, "size of the residual stream", at_least<int64_t>(1))
      .key("heads", &M::heads, "query heads", at_least<int64_t>(1))
      .key("kv_heads", &M::kv_heads, "key and value heads; 0: as many as heads", at_least<int64_t>(0))
      .key("mlp_width", &M::mlp_width, "0: 8/3 of width, rounded up to a multiple of 16",
           at_least<int64_t>(0))
      .key("context", &M::context, "longest sequence, in tokens", at_least<int64_t>(1))
      .key("vocab", &M::vocab, "0: the tokenizer's", at_least<int64_t>(0))
      .key("tied", &M::tied, "the head shares the embedding");
}

Fields<DataOptions> data_fields() {
  using D = DataOptions;
  return Fields<D>()
      .key("path", &D::path, "text files or folders of them", no_empty_path())
      .is_path(&D::path)
      .key("tokenizer", &D::tokenizer,
           "bytes, bpe (trained by the run), a SentencePiece model, or a run whose tokenizer to take")
      .is_path(&D::tokenizer, {"bytes", "bpe"})
      .key("vocab_size", &D::vocab_size, "of a trained bpe", at_least<int64_t>(2))
      .key("shards", &D::shards, "even shares of all text, or one source per worker",
           one_of({"even", "by_source"}))
      .key("held_out", &D::held_out, "share of the text kept for evaluation", from_to_below(0, 1))
      .key("sequence", &D::sequence, "tokens per training sequence", at_least<int64_t>(1));
}

Fields<TaskOptions> task_fields() {
  using T = TaskOptions;
  return Fields<T>()
      .key("kind", &T::kind, "what the workers learn", one_of(task_kinds()))
      .key("teacher", &T::teacher, "distill: a run or checkpoint of ours")
      .is_path(&T::teacher);
}

// The list of tables [[quant.rule]].
Section quant_section() {
  Key rule{"rule",
           "list of tables",
           "the first whose match is found in a layer's name applies to it",
           "",
           Bare::kToml,
           {},
           {},
           {}};
  rule.read = [](Options& options, const toml::node& node, const std::string& name) {
    const toml::array* tables = node.as_array();
    if (tables == nullptr || (!tables->empty() && !tables->is_homogeneous<toml::table>())) {
      throw ConfigError(fmt::format("{}: {}: expected a list of tables, [[quant.rule]], found {}",
                                    place_of(node.source()), name, describe_node(node)));
    }
    options.quant.rule.clear();
    for (const toml::node& table : *tables) {
      read_fields(quant_rule_fields().all(), *table.as_table(), name, options.quant.rule.emplace_back());
    }
  };
  rule.write = [](const Options& options) {
    std::vector<std::string> tables;
    for (const QuantRule& entry : options.quant.rule) {
      std::vector<std::string> pairs;
      for (const auto& field : quant_rule_fields().all())
        pairs.push_back(field.name + " = " + field.write(entry));
      tables.push_back("{" + joined(pairs) + "}");
    }
    return write_list(tables);
  };
  return {"quant", "Which layers are fake-quantised, and to what (task qat).", {rule}};
}

Fields<LoraOptions> lora_fields() {
  using L = LoraOptions;
  return Fields<L>()
      .key("match", &L::match, "layers that get factors: found in their names", regular_expression())
      .key("rank", &L::rank, "of the factors", at_least<int64_t>(1))
      .key("alpha", &L::alpha, "the factors' product is scaled by alpha / rank", above<double>(0))
      .key("dropout", &L::dropout, "on the input of the factors", from_to_below(0, 1))
      .key("base", &L::base, "format of the frozen base", one_of(storage_codecs()));
}

Fields<DistillOptions> distill_fields() {
  using D = DistillOptions;
  return Fields<D>()
      .key("match", &D::match, "layers whose weights become one bit: found in their names",
           regular_expression())
      .key("temperature", &D::temperature, "of both softmaxes in the logits loss", above<double>(0))
      .key("logits", &D::logits, "weight of the logits loss", at_least<double>(0))
      .key("hidden", &D::hidden, "weight of the hidden-state loss", at_least<double>(0))
      .key("labels", &D::labels, "weight of the cross-entropy with the text", at_least<double>(0));
}

Fields<InnerOptions> inner_fields() {
  using I = InnerOptions;
  return Fields<I>()
      .key("optimizer", &I::optimizer, "of each worker's own steps", one_of(inner_optimizers()))
      .key("lr", &I::lr, "peak learning rate", above<double>(0))
      .key("betas", &I::betas, "decay rates of adamw, also within muon; sgd takes the first as momentum",
           two_decay_rates())
      .key("momentum", &I::momentum, "muon's, for matrices of blocks; the other tensors are adamw's",
           from_to_below(0, 1))
      .key("weight_decay", &I::weight_decay, "decoupled, on matrices", at_least<double>(0))
      .key("warmup", &I::warmup, "steps of linear warm-up", at_least<int64_t>(0))
      .key("schedule", &I::schedule, "after the warm-up", one_of({"cosine", "constant"}))
      .key("final_lr", &I::final_lr, "share of lr at the last step", between(0, 1))
      .key("clip", &I::clip, "largest gradient norm; 0: off", at_least<double>(0))
      .key("skip_nonfinite", &I::skip_nonfinite,
           "steps in a row that may be skipped since a loss or gradient is NaN or infinite; 0: end the run",
           at_least<int64_t>(0))
      .key("steps", &I::steps, "inner steps of the run", at_least<int64_t>(1))
      .key("batch", &I::batch, "sequences per worker and step", at_least<int64_t>(1))
      .key("accumulate", &I::accumulate, "micro-batches per step; divides batch", at_least<int64_t>(1))
      .key("precision", &I::precision, "of the forward and backward pass", one_of({"float32", "bfloat16"}));
}

Fields<OuterOptions> outer_fields() {
  using O = OuterOptions;
  return Fields<O>()
      .key("method", &O::method, "how workers keep one model", one_of(outer_methods()))
      .key("sync_every", &O::sync_every, "H, inner steps between two syncs of one parameter",
           at_least<int64_t>(1))
      .key("fragments", &O::fragments, "of blocks; embeddings, head and final norm form one more",
           at_least<int64_t>(1))
      .key("layout", &O::layout, "which blocks a fragment holds", one_of({"strided", "sequential"}))
      .key("overlap", &O::overlap,
           "tau, steps between sending a fragment and applying its result, of streaming_diloco; at most "
           "sync_every, which eager_diloco always takes",
           at_least<int64_t>(0))
      .key("alpha", &O::alpha, "weight of the local parameters at the merge, of streaming_diloco",
           between(0, 1))
      .key("lr", &O::lr, "of the outer Nesterov step", above<double>(0))
      .key("momentum", &O::momentum, "of the outer Nesterov step", from_to_below(0, 1))
      .key("codec", &O::codec, "format of the values on the wire", one_of(quant::codec_names()))
      .key("embeddings_codec", &O::embeddings_codec,
           "of the fragment of embeddings, head and final norm; empty: codec", codec_or_empty())
      .key("block", &O::block, "values per scale", block_size())
      .key("k", &O::k, "topk: values kept of every chunk of 4096", kept_values())
      .key("rotate", &O::rotate, "Hadamard rotation of each block before it is coded; block a power of two")
      .key("rounding", &O::rounding, "of the codec", one_of({"nearest", "stochastic"}))
      .key("error_feedback", &O::error_feedback, "what a send rounds away is added to the next")
      .key("decay", &O::decay, "of the error-feedback residual", between(0, 1))
      .key("leg", &O::leg, "how the mean comes back: gather of codes, reduce and re-encode, or the cheaper",
           one_of({"auto", "gather", "reduce"}))
      .key("final_sync", &O::final_sync,
           "sync what has drifted by the last step once more, so that the model holds every step");
}

Fields<CommOptions> comm_fields() {
  using C = CommOptions;
  return Fields<C>()
      .key("backend", &C::backend, "what carries the bytes", one_of(comm::backend_names()))
      .key("link", &C::link, "the simulated link: 20mbit/40ms; up=5mbit,down=50mbit,rtt=80ms; unlimited",
           link_text())
      .key("timeout_s", &C::timeout_s, "deadline of one exchange, in seconds", above<double>(0));
}

Fields<CheckpointOptions> checkpoint_fields() {
  using C = CheckpointOptions;
  return Fields<C>()
      .key("every", &C::every, "steps; 0: only at the end and on a signal", at_least<int64_t>(0))
      .key("keep", &C::keep, "newest checkpoints that stay", at_least<int64_t>(1));
}

Fields<LogOptions> log_fields() {
  using L = LogOptions;
  return Fields<L>()
      .key("every", &L::every, "steps between two records of metrics.jsonl", at_least<int64_t>(1))
      .key("eval_every", &L::eval_every, "steps between two evaluations; 0: only at the end",
           at_least<int64_t>(0))
      .key("tensorboard", &L::tensorboard, "write TensorBoard event files too");
}

std::vector<Section> make_schema() {
  return {
      section("run", "The run as a whole.", &Options::run, run_fields()),
      section("model", "What is trained.", &Options::model, model_fields()),
      section("data", "What it learns from.", &Options::data, data_fields()),
      section("task", "How it learns.", &Options::task, task_fields()),
      quant_section(),
      section("lora", "Task lora.", &Options::lora, lora_fields()),
      section("distill", "Task distill.", &Options::distill, distill_fields()),
      section("inner", "The steps that each worker takes alone.", &Options::inner, inner_fields()),
      section("outer", "How the workers keep one model.", &Options::outer, outer_fields()),
      section("comm", "How bytes move.", &Options::comm, comm_fields()),
      section("checkpoint", "When the run can be resumed from.", &Options::checkpoint, checkpoint_fields()),
      section("log", "What is written down.", &Options::log, log_fields())};
}

}  // namespace

const std::vector<Section>& schema() {
  static const std::vector<Section> sections = make_schema();
  return sections;
}

const Fields<QuantRule>& quant_rule_fields() {
  using R = QuantRule;
  static const Fields<R> fields =
      Fields<R>()
          .key("match", &R::match, "a regular expression, found in the layer's name", regular_expression())
          .key("weights", &R::weights, "format of the weights, per output channel",
               one_of({"none", "int2", "int4", "int8"}))
          .key("activations", &R::activations, "format of the layer's input",
               one_of({"none", "int4", "int8"}));
  return fields;
}

}  // namespace thinwire::launch
