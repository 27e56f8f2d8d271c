// How well a model predicts text: the held-out part of its run's data, or other text.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/open_model.h"
#include "launch/config/config.h"
#include "trainer/data/batches.h"
#include "trainer/data/token_cache.h"
#include "trainer/evaluate.h"

namespace thinwire::launch {
namespace {

struct EvalOptions {
  std::string model;
  std::vector<std::string> data;
  int threads = 1;
  bool json = false;
};

trainer::TextWatch watch_on_stderr() {
  const auto say = [](const std::string& message) { fmt::print(stderr, "{}\n", message); };
  return {.on_notice = say,
          .on_warning = [](const std::string& message) { fmt::print(stderr, "warning: {}\n", message); },
          .stop = {}};
}

// What the run itself evaluates on, in the same batches.
trainer::EvaluationText held_out_text(const std::string& run, const OpenModel& open) {
  const std::string config = run + "/config.toml";
  if (!std::filesystem::exists(config)) {
    throw UsageError(run + ": has no config.toml, which says what text the run has; give --data");
  }
  const trainer::Options options = load_run_config(run, {});
  if (options.data.held_out == 0)
    throw UsageError(run + ": held no text out (data.held_out = 0); give --data");
  const trainer::TextWatch watch = watch_on_stderr();
  std::vector<trainer::Source> sources = trainer::open_sources(options.data, {});
  trainer::read_sources(sources, trainer::AcceptedText::kAny, watch);
  const std::string found = trainer::corpus_key(sources, *open.tokenizer, options.data.held_out);
  if (!open.corpus.empty() && found != open.corpus) {
    throw std::runtime_error(
        fmt::format("{}: its text has changed (data.path {}: expected corpus {}, found {}), so what it held "
                    "out is not known; put the same text there again, or give --data",
                    run, fmt::join(options.data.path, ", "), open.corpus, found));
  }
  return trainer::make_batches(options.data, *open.tokenizer, {}, sources, run + "/cache", watch)
      ->held_out(options.inner.batch);
}

trainer::EvaluationText given_text(const std::vector<std::string>& paths, const OpenModel& open) {
  const trainer::TextWatch watch = watch_on_stderr();
  std::vector<trainer::Source> sources = trainer::open_sources(paths);
  trainer::read_sources(sources, trainer::AcceptedText::kAnyEncoding, watch);
  return trainer::whole_text(sources, *open.tokenizer, open.sizes.context, watch);
}

int eval(const EvalOptions& options) {
  const OpenModel open = open_model(options.model, options.threads);
  const trainer::EvaluationText text =
      options.data.empty() ? held_out_text(options.model, open) : given_text(options.data, open);
  const trainer::Evaluation result = trainer::evaluate(*open.model, text);
  if (options.json) {
    const nlohmann::json object = {{"loss", result.loss},
                                   {"perplexity", result.perplexity},
                                   {"bits_per_byte", result.bits_per_byte},
                                   {"tokens", result.tokens},
                                   {"step", step_of(open)}};
    fmt::print("{}\n", object.dump(2));
  } else {
    fmt::print(
        "loss           {:.4f} nats per token\nperplexity     {:.4f}\nbits per byte  {:.4f}\ntokens         "
        "{}\n",
        result.loss, result.perplexity, result.bits_per_byte, result.tokens);
  }
  return kSuccess;
}

}  // namespace

Run declare_eval(const CommandLine& line) {
  auto options = std::make_shared<EvalOptions>();
  line.option("model", options->model, "A run, a checkpoint or an exported file").required();
  line.option("--data", options->data,
              "Text files or folders, all of which count; the run's held-out text if not given");
  line.option("--threads", options->threads, "Compute threads").check(whole_number(1));
  line.flag("--json", options->json, "{loss, perplexity, bits_per_byte, tokens, step} on standard output");
  return [options] { return eval(*options); };
}

}  // namespace thinwire::launch
