// How well a model predicts text: the held-out part of its run's data, or other text.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/command/command.h"
#include "launch/command/open_model.h"
#include "launch/config/config.h"
#include "trainer/data/batches.h"
#include "trainer/evaluate.h"

namespace thinwire::launch {
namespace {

struct EvalOptions {
  std::string model;
  std::vector<std::string> data;
  int threads = 1;
  bool json = false;
};

// What the run itself evaluates on, in the same batches.
trainer::EvaluationText held_out_text(const std::string& run, const trainer::Tokenizer& tokenizer) {
  const std::string config = run + "/config.toml";
  if (!std::filesystem::exists(config)) {
    throw UsageError(run + ": is not the folder of a run, which knows its text; give --data");
  }
  const trainer::Options options = load_run_config(run, {});
  const auto batches = trainer::make_batches(options.data, tokenizer, {}, run + "/cache");
  return {batches->held_out(options.inner.batch), batches->held_out_bytes_per_token()};
}

int eval(const EvalOptions& options) {
  const OpenModel open = open_model(options.model, options.threads);
  const trainer::EvaluationText text =
      options.data.empty() ? held_out_text(options.model, *open.tokenizer)
                           : trainer::whole_text(trainer::read_sources(options.data), *open.tokenizer,
                                                 open.model->options().context);
  const trainer::Evaluation result = trainer::evaluate(*open.model, text);
  if (options.json) {
    const nlohmann::json object = {{"loss", result.loss},
                                   {"perplexity", result.perplexity},
                                   {"bits_per_byte", result.bits_per_byte},
                                   {"tokens", result.tokens}};
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
  CLI::App& app = line.app;
  app.add_option("model", options->model, "A run, a checkpoint or an exported file")->required();
  app.add_option("--data", options->data,
                 "Text files or folders, all of which count; the run's held-out text if not given");
  app.add_option("--threads", options->threads, "Compute threads")->check(CLI::PositiveNumber);
  app.add_flag("--json", options->json, "{loss, perplexity, bits_per_byte, tokens} on standard output");
  return [options] { return eval(*options); };
}

}  // namespace thinwire::launch
